"""Claims, leases, attempts: who may work on a batch, and what happens when a worker disappears."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.work import leases, queue
from tests.helpers.factories import make_draft

pytestmark = pytest.mark.django_db


def make_stage(count: int = 3, size: int = 2) -> Stage:
    study = make_draft()
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    stage = Stage.objects.create(study=study, name="curve", position=0, state=Stage.State.RUNNING, total=count * size)
    Batch.objects.bulk_create(Batch(stage=stage, number=n, size=size) for n in range(count))
    return stage


def expire(batch: Batch) -> None:
    Batch.objects.filter(pk=batch.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_batches_are_claimed_in_order_and_once() -> None:
    make_stage(3)
    claimed = [queue.claim("cpu") for _ in range(4)]
    assert [batch.number if batch else None for batch in claimed] == [0, 1, 2, None]
    assert queue.claim("gpu") is None


def test_an_expired_lease_is_another_workers() -> None:
    make_stage(1)
    first = queue.claim("cpu")
    assert first is not None
    assert queue.claim("cpu") is None
    expire(first)
    second = queue.claim("cpu")
    assert second is not None
    assert second.pk == first.pk
    assert second.attempts == 2
    assert not leases.renew(queue._held(first))
    assert not queue.finish(first)
    assert queue.finish(second)


def test_progress_is_the_sum_over_batches_and_survives_a_lost_one() -> None:
    stage = make_stage(2, size=10)
    first = queue.claim("cpu")
    assert first is not None
    queue.report_progress(first, 7)
    stage.refresh_from_db()
    assert stage.done == 7
    expire(first)
    again = queue.claim("cpu")
    assert again is not None
    queue.report_progress(again, 3)
    queue.report_progress(first, 9)  # the late worker reports nothing any more
    stage.refresh_from_db()
    assert stage.done == 3
    queue.finish(again)
    stage.refresh_from_db()
    assert stage.done == 10


def test_a_failed_attempt_waits_and_the_third_gives_up() -> None:
    stage = make_stage(1)
    for attempt in (1, 2, 3):
        batch = queue.claim("cpu")
        assert batch is not None, attempt
        queue.fail(batch, "the disk is full", permanent=False)
        assert queue.claim("cpu") is None  # it waits, or is given up
        Batch.objects.filter(state=Batch.State.WAITING).update(not_before=timezone.now())
    stage.refresh_from_db()
    assert (stage.state, stage.error) == (Stage.State.FAILED, "the disk is full")


def test_a_worker_that_disappears_again_and_again_stops_the_stage() -> None:
    stage = make_stage(1)
    for _ in range(3):
        batch = queue.claim("cpu")
        assert batch is not None
        expire(batch)
    assert queue.claim("cpu") is None
    stage.refresh_from_db()
    assert stage.state == Stage.State.FAILED
    assert "disappeared 3 times" in stage.error


def test_a_failed_stage_can_be_tried_again() -> None:
    stage = make_stage(1)
    batch = queue.claim("cpu")
    assert batch is not None
    queue.fail(batch, "no such file", permanent=True)
    assert queue.claim("cpu") is None
    assert queue.release_failed(stage) == 1
    again = queue.claim("cpu")
    assert again is not None
    assert again.attempts == 1


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_once_share_the_batches() -> None:
    make_stage(40)
    taken: list[int] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        try:
            barrier.wait()
            while (batch := queue.claim("cpu")) is not None:
                taken.append(batch.number)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(40))


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_the_heartbeat_keeps_a_lease_alive(settings: object) -> None:
    settings.LEASE_SECONDS = 0.6  # type: ignore[attr-defined]
    make_stage(1)
    batch = queue.claim("cpu")
    assert batch is not None
    with queue.heartbeat(batch) as lost:
        threading.Event().wait(1.5)
        assert queue.claim("cpu") is None
        assert not lost.is_set()
        Batch.objects.filter(pk=batch.pk).update(holder=None, lease_until=None, state=Batch.State.WAITING)
        assert lost.wait(1.0)
