"""Failed work: what is tried again and when, what is given up or set aside, and what an outage changes."""

from __future__ import annotations

import errno
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies.models import Batch, Stage
from evenhand.studies.work import outage, queue
from evenhand.studies.work.queue import Claim, Handler
from tests.helpers.work_items import claimed, expire, in_files_or_on_a_server, make_stage, nothing, raising

pytestmark = pytest.mark.django_db


def test_a_failed_attempt_waits_and_the_third_gives_up() -> None:
    stage = make_stage(1)
    for _ in range(3):
        assert not queue.run(claimed(), raising(RuntimeError("out of bounds")))
        assert queue.claim(Batch, "cpu") is None  # it waits, or is given up
        Batch.objects.filter(state=Batch.State.WAITING).update(not_before=timezone.now())
    stage.refresh_from_db()
    assert (stage.state, stage.error) == (Stage.State.FAILED, "RuntimeError: out of bounds")


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


def test_a_worker_that_disappears_again_and_again_stops_the_stage_at_last() -> None:
    """Two vanishings cost no time; after the third on, each makes the item wait longer, and the tenth gives it up."""
    stage = make_stage(1)
    waits: list[float] = []
    for _ in range(3):
        expire(claimed())
    for _ in range(queue.MAX_VANISHINGS - 3):
        assert queue.claim(Batch, "cpu") is None
        batch = Batch.objects.get(stage=stage)
        assert batch.not_before is not None
        waits.append(round((batch.not_before - timezone.now()).total_seconds()))
        Batch.objects.filter(pk=batch.pk).update(not_before=None)
        expire(claimed())
    assert queue.claim(Batch, "cpu") is None
    assert waits == [10, 20, 40, 80, 160, 320, 640]
    stage.refresh_from_db()
    assert stage.state == Stage.State.FAILED
    assert "disappeared 10 times" in stage.error


def test_vanishings_are_no_errors_and_outages_neither() -> None:
    make_stage(1)
    expire(claimed())
    expire(claimed())
    assert not queue.run(claimed(), raising(RuntimeError("CUDA error")))
    Batch.objects.update(not_before=None)
    assert not queue.run(claimed(), raising(OSError(errno.ENOSPC, "No space left on device")))
    batch = Batch.objects.get()
    assert (batch.vanishings, batch.errors, batch.outages, batch.state) == (2, 1, 1, "waiting")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OperationalError("server closed the connection unexpectedly"),
        ConnectionResetError("reset by peer"),
        TimeoutError("timed out"),
    ],
)
def test_an_outage_is_waited_out_however_long_it_lasts(error: Exception) -> None:
    stage = make_stage(1)
    for _ in range(20):
        assert not queue.run(claimed(), raising(error))
        batch = Batch.objects.get()
        assert (batch.state, batch.errors) == ("waiting", 0)
        assert batch.not_before is not None
        assert batch.not_before <= timezone.now() + timedelta(hours=1)
        Batch.objects.update(not_before=None)
    stage.refresh_from_db()
    assert stage.state == Stage.State.RUNNING
    assert queue.work_through({Batch: Handler(nothing)}) == 1


def caused(cause: Exception) -> InputError:
    error = InputError("the picture cannot be read")
    error.__cause__ = cause
    return error


def test_what_an_outage_was_the_cause_of_is_one_too() -> None:
    assert outage.is_outage(caused(OSError(errno.EIO, "Input/output error")))
    assert not outage.is_outage(caused(FileNotFoundError(errno.ENOENT, "No such file")))
    assert outage.is_outage(ConnectionRefusedError("the broker"))
    assert not outage.is_outage(caused(ConnectionError("the hub")))  # a person gives another name, or a folder


def test_a_round_ends_after_an_outage_and_when_the_worker_is_to_stop() -> None:
    make_stage(3)
    assert queue.work_through({Batch: raising(OSError(errno.ENOSPC, "full"))}) == 0
    assert Batch.objects.filter(outages=1).count() == 1
    stops = iter([False, True])
    assert queue.work_through({Batch: Handler(nothing)}, stop=lambda: next(stops)) == 1


def test_a_batch_that_fails_is_cut_and_its_bad_item_set_aside_while_the_rest_goes_on(settings: Any) -> None:
    settings.BACKOFF_SECONDS = 1e-6
    stage = make_stage(1, size=5)
    Batch.objects.update(items=[{"recipe": 3}, 11, 12, 13, 14, 15])
    done: list[int] = []

    def run(claim: Claim[Batch]) -> None:
        if 13 in claim.item.items:
            raise RuntimeError("this prompt cannot be drawn")
        done.extend(claim.item.items[1:])

    queue.work_through({Batch: Handler(run)})
    assert sorted(done) == [11, 12, 14, 15]
    (failed,) = Batch.objects.filter(state="failed")
    assert (failed.items, failed.error) == ([{"recipe": 3}, 13], "RuntimeError: this prompt cannot be drawn")
    assert {tuple(map(str, batch.items)) for batch in Batch.objects.all()} == {
        ("{'recipe': 3}", str(n)) for n in range(11, 16)
    }
    stage.refresh_from_db()
    assert (stage.state, stage.done, stage.total) == (Stage.State.RUNNING, 4, 5)


def test_a_stage_stops_where_more_is_set_aside_than_single_items(settings: Any) -> None:
    settings.BACKOFF_SECONDS = 1e-6
    stage = make_stage(1, size=5)
    Batch.objects.update(items=[1, 2, 3, 4, 5])
    queue.work_through({Batch: raising(RuntimeError("no model"))})
    stage.refresh_from_db()
    assert (stage.state, stage.error) == (Stage.State.FAILED, "RuntimeError: no model")
    assert Batch.objects.filter(state="failed").count() == 3


@in_files_or_on_a_server
@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_a_failure_is_recorded_although_the_connection_was_cut() -> None:
    make_stage(1)
    batch = claimed()

    def run(claim: Claim[Batch]) -> None:
        cut_connection()
        raise RuntimeError("CUDA error")

    assert not queue.run(batch, Handler(run))
    batch.refresh_from_db()
    assert (batch.state, batch.errors, batch.error) == ("waiting", 1, "RuntimeError: CUDA error")


@in_files_or_on_a_server
@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_work_is_finished_although_the_connection_was_cut() -> None:
    make_stage(1)

    def run(claim: Claim[Batch]) -> None:
        cut_connection()
        claim.progress(1, 2)
        cut_connection()

    assert queue.run(claimed(), Handler(run))


def cut_connection() -> None:
    """Close this thread's connection behind Django's back."""
    connection.ensure_connection()
    assert connection.connection is not None
    connection.connection.close()


def test_a_process_without_the_models_gives_work_back_without_a_failure() -> None:
    """Somebody runs the work on the web side: three such tries would fail the stage for good."""
    make_stage(1)
    lacking = ModuleNotFoundError("No module named 'torch'", name="torch")
    with pytest.raises(ModuleNotFoundError):
        queue.work_through({Batch: raising(lacking)})
    batch = Batch.objects.get()
    assert (batch.state, batch.errors, batch.error, batch.not_before, batch.holder) == ("waiting", 0, "", None, None)
    assert queue.work_through({Batch: Handler(nothing)}) == 1


def test_released_items_have_all_their_attempts_again() -> None:
    stage = make_stage(1)
    queue.run(claimed(), raising(InputError("no such file")))
    assert queue.claim(Batch, "cpu") is None
    assert queue.release(stage.batches.all()) == 1
    Stage.objects.update(state=Stage.State.RUNNING)
    batch = claimed()
    assert (batch.attempts, batch.errors) == (1, 0)


def test_what_waits_for_a_later_attempt_begins_at_once_when_it_is_released() -> None:
    make_stage(1)
    queue.run(claimed(), raising(RuntimeError("CUDA error")))
    assert queue.claim(Batch, "cpu") is None
    assert queue.release(Batch.objects.all()) == 0
    assert claimed().errors == 0
