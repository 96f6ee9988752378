"""Claims, leases, attempts: who may work on an item, and what happens when a worker disappears or the database does."""

from __future__ import annotations

import errno
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.work import leases, outage, queue
from evenhand.studies.work.leases import LeaseLost
from evenhand.studies.work.queue import Claim, Handler
from tests.helpers.factories import make_draft

pytestmark = pytest.mark.django_db
in_files_or_on_a_server = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="a database in memory ends with its connection"
)


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


def test_progress_is_the_sum_over_batches_and_survives_a_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "SECONDS_BETWEEN_UPDATES", 0)
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
    with django_assert_num_queries(0):  # work that takes less than half a second reports its end alone
        for done in range(50):
            claim.progress(done, 100)
    claim._updated_at -= queue.SECONDS_BETWEEN_UPDATES
    with django_assert_num_queries(2):  # the batch, and the stage's sum
        for done in range(50, 100):
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


@in_files_or_on_a_server
@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_a_report_does_not_wait_for_another_workers_one() -> None:
    """All batches of a stage report to one row; 64 workers would wait for each other there."""
    stage = make_stage(2)
    claim = Claim(claimed())
    held, enough = threading.Event(), threading.Event()

    def report_for_long() -> None:
        with transaction.atomic():
            Stage.objects.filter(pk=stage.pk).update(evaluations=7)
            held.set()
            enough.wait(30)
        connection.close()

    other = threading.Thread(target=report_for_long)
    other.start()
    assert held.wait(30)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        claim.update(done=1)  # raises where it waits
        stage.refresh_from_db()
        assert stage.done == 0
    finally:
        enough.set()
        other.join()
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
    claim.update(done=2)
    stage.refresh_from_db()
    assert (stage.done, stage.evaluations) == (2, 7)


def cut_connection() -> None:
    """Close this thread's connection behind Django's back."""
    connection.ensure_connection()
    assert connection.connection is not None
    connection.connection.close()


def test_a_process_without_the_models_takes_no_attempt_of_the_work() -> None:
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


# ------------------------------------------------------------------------------ what suits a worker


class Model:
    """A worker that loads the model that an item names, as often as it needs another one than it holds."""

    def __init__(self, seconds: float = 300.0) -> None:
        self.held, self.loaded = "", 0
        self.worked: list[int] = []
        self.turns = queue.Turns(seconds)
        self.handler: Handler[Batch] = Handler(self.run, preferred=self.preferred)

    def preferred(self) -> Q | None:
        return Q(items__0__recipe=self.held) if self.held else None

    def run(self, claim: Claim[Batch]) -> None:
        wanted = claim.item.items[0]["recipe"]
        self.loaded += wanted != self.held
        self.held = wanted
        self.worked.append(claim.item.number)

    def work(self, items: int = 1) -> None:
        left = iter([*[False] * items, True])
        queue.work_through({Batch: self.handler}, "cpu", stop=lambda: next(left), turns=self.turns)


def by_turns(count: int) -> None:
    """Let the batches need two recipes by turns."""
    make_stage(count, size=1)
    for batch in Batch.objects.all():
        batch.items = [{"recipe": "ab"[batch.number % 2]}, batch.number]
        batch.save(update_fields=["items"])


def test_two_workers_with_two_recipes_load_a_model_each() -> None:
    by_turns(12)
    one, other = Model(), Model()
    for _ in range(6):
        one.work()
        other.work()
    assert (one.worked, other.worked) == ([0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11])
    assert (one.loaded, other.loaded) == (1, 1)
    assert Batch.objects.filter(state="done").count() == 12


def test_a_worker_whose_own_items_are_done_takes_the_others() -> None:
    by_turns(6)
    alone = Model()
    alone.work(items=6)
    assert alone.worked == [0, 2, 4, 1, 3, 5]
    assert alone.loaded == 2


def test_the_oldest_item_has_its_turn_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hundred seconds a batch is worked on: after three hundred the oldest one goes first, whatever it needs."""
    now = [0.0]
    monkeypatch.setattr(queue.time, "monotonic", lambda: now[0])
    by_turns(12)
    worker = Model(seconds=300.0)
    for _ in range(6):
        worker.work()
        now[0] += 100
    assert worker.worked == [0, 2, 4, 1, 3, 5]
    assert worker.loaded == 2
