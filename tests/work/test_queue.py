"""Claims, leases, attempts: who may work on an item, and what happens when a worker disappears or the database does."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.work import leases, queue
from evenhand.studies.work.leases import LeaseLost
from evenhand.studies.work.queue import Claim, Handler
from tests.helpers.factories import make_draft

pytestmark = pytest.mark.django_db


def make_stage(count: int = 3, size: int = 2) -> Stage:
    study = make_draft()
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    stage = Stage.objects.create(study=study, name="curve", position=0, state=Stage.State.RUNNING, total=count * size)
    Batch.objects.bulk_create(Batch(stage=stage, number=n, total=size) for n in range(count))
    return stage


def claimed() -> Batch:
    batch = queue.claim(Batch, "cpu")
    assert batch is not None
    return batch


def expire(batch: Batch) -> None:
    Batch.objects.filter(pk=batch.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def nothing(claim: Claim[Batch]) -> None:
    """Do no work."""


def raising(error: Exception) -> Handler[Batch]:
    def run(claim: Claim[Batch]) -> None:
        raise error

    return Handler(run)


def test_batches_are_claimed_in_order_and_once() -> None:
    make_stage(3)
    batches = [queue.claim(Batch, "cpu") for _ in range(4)]
    assert [batch.number if batch else None for batch in batches] == [0, 1, 2, None]
    assert queue.claim(Batch, "gpu") is None


def test_an_expired_lease_is_another_workers() -> None:
    make_stage(1)
    first = claimed()
    assert queue.claim(Batch, "cpu") is None
    expire(first)
    second = claimed()
    assert second.pk == first.pk
    assert second.attempts == 2
    assert not queue.finish(first)
    assert queue.finish(second)


def test_progress_is_the_sum_over_batches_and_survives_a_lost_one() -> None:
    stage = make_stage(2, size=10)
    first = Claim(claimed())
    first.progress(7, 10)
    stage.refresh_from_db()
    assert stage.done == 7
    expire(first.item)
    second = Claim(claimed())
    second.progress(30, 100)
    with pytest.raises(LeaseLost):
        first.update(done=9)  # the late worker stores nothing any more
    stage.refresh_from_db()
    assert stage.done == 3
    queue.finish(second.item)
    stage.refresh_from_db()
    assert stage.done == 10


def test_progress_is_stored_twice_a_second_at_most(django_assert_num_queries: Any) -> None:
    make_stage(1, size=100)
    claim = Claim(claimed())
    with django_assert_num_queries(2):  # the batch, and the stage's sum
        for done in range(50):
            claim.progress(done, 100)


def test_work_whose_lease_is_lost_stops_at_its_next_progress_and_is_not_failed() -> None:
    stage = make_stage(1, size=10)
    batch, steps = claimed(), []

    def run(claim: Claim[Batch]) -> None:
        for step in range(10):
            steps.append(step)
            if step == 3:
                Batch.objects.filter(pk=claim.item.pk).update(holder=None, lease_until=None, state=Batch.State.WAITING)
                claim.loss.set()  # as the heartbeat does when its update finds no row
            claim.progress(step, 10)

    assert not queue.run(batch, Handler(run))
    assert steps == [0, 1, 2, 3]
    batch.refresh_from_db()
    stage.refresh_from_db()
    assert (batch.state, batch.error, stage.state) == ("waiting", "", "running")


def test_a_failed_attempt_waits_and_the_third_gives_up() -> None:
    stage = make_stage(1)
    for _ in range(3):
        assert not queue.run(claimed(), raising(OSError("the disk is full")))
        assert queue.claim(Batch, "cpu") is None  # it waits, or is given up
        Batch.objects.filter(state=Batch.State.WAITING).update(not_before=timezone.now())
    stage.refresh_from_db()
    assert (stage.state, stage.error) == (Stage.State.FAILED, "OSError: the disk is full")


@pytest.mark.parametrize(
    ("error", "given_up"),
    [
        (InputError("subset_size: 9 prompts are asked for"), True),
        (ValueError("operands could not be broadcast together"), False),  # numpy's, and no person's mistake
        (RuntimeError("CUDA error"), False),
    ],
)
def test_only_what_a_person_can_mend_is_not_tried_again(error: Exception, given_up: bool) -> None:
    stage = make_stage(1)
    queue.run(claimed(), raising(error))
    stage.refresh_from_db()
    assert (stage.state == Stage.State.FAILED) == given_up
    assert str(error) in stage.error


def test_a_worker_that_disappears_again_and_again_stops_the_stage() -> None:
    stage = make_stage(1)
    for _ in range(3):
        expire(claimed())
    assert queue.claim(Batch, "cpu") is None
    stage.refresh_from_db()
    assert stage.state == Stage.State.FAILED
    assert "disappeared 3 times" in stage.error


def test_released_items_have_all_their_attempts_again() -> None:
    stage = make_stage(1)
    queue.run(claimed(), raising(InputError("no such file")))
    assert queue.claim(Batch, "cpu") is None
    assert queue.release(stage.batches.all()) == 1
    Stage.objects.update(state=Stage.State.RUNNING)
    assert claimed().attempts == 1


def test_what_a_handler_returns_is_stored_when_the_item_is_finished() -> None:
    make_stage(3)
    batch = claimed()
    ended: list[Batch] = []
    assert queue.run(batch, Handler(lambda claim: {"items": [1, 2]}))
    batch.refresh_from_db()
    assert (batch.items, batch.state, batch.done) == ([1, 2], "done", 2)
    assert queue.work_through({Batch: Handler(nothing, after=ended.append)}) == 2
    assert len(ended) == 2


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_once_share_the_batches() -> None:
    make_stage(40)
    numbers: list[int] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        try:
            barrier.wait()
            while (batch := queue.claim(Batch, "cpu")) is not None:
                numbers.append(batch.number)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(40))


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_the_heartbeat_keeps_a_lease_alive_and_tells_of_its_loss(settings: Any) -> None:
    settings.LEASE_SECONDS = 0.6
    make_stage(1)
    batch = claimed()
    with leases.heartbeat(Batch.objects.filter(holder=batch.holder), "a batch") as lost:
        threading.Event().wait(1.5)
        assert queue.claim(Batch, "cpu") is None
        assert not lost.is_set()
        Batch.objects.filter(pk=batch.pk).update(holder=None, lease_until=None, state=Batch.State.WAITING)
        assert lost.wait(1.0)


class Unreachable:
    """A database that answers no update, or not the first few."""

    def __init__(self, failures: int) -> None:
        self.failures, self.asked = failures, 0

    def update(self, **values: Any) -> int:
        self.asked += 1
        if self.asked <= self.failures:
            raise OperationalError("the connection is closed")
        return 1


def test_a_heartbeat_outlives_a_short_outage_and_gives_up_in_a_long_one(settings: Any) -> None:
    settings.LEASE_SECONDS = 0.6
    short, long = Unreachable(failures=2), Unreachable(failures=1000)
    with leases.heartbeat(short, "a batch") as lost:  # type: ignore[arg-type]
        assert not lost.wait(1.2)
    assert short.asked >= 4
    with leases.heartbeat(long, "a batch") as lost:  # type: ignore[arg-type]
        assert lost.wait(1.2)
