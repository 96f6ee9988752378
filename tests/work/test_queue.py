"""Claims, leases, progress: who may work on an item, and what happens when a worker disappears."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import Q

from evenhand.studies.models import Batch, Stage
from evenhand.studies.work import leases, queue
from evenhand.studies.work.leases import LeaseLost
from evenhand.studies.work.queue import Claim, Handler
from tests.helpers.work_items import claimed, expire, in_files_or_on_a_server, make_stage, nothing

pytestmark = pytest.mark.django_db


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
