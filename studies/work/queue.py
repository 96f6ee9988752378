"""Use the database as a queue: claim an item, run it, store its progress, record how it ended.

An item is a row of any model that inherits ``WorkItem``. Claiming, finishing and failing are conditional updates whose
count is checked, so that several workers and a late one never act on the same claim.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from evenhand.errors import InputError, lacks_models
from evenhand.studies.log_ids import noted
from evenhand.studies.model_roots import without_folders
from evenhand.studies.models.work import WorkItem
from evenhand.studies.work import leases
from evenhand.studies.work.leases import LeaseLost
from evenhand.studies.work.outage import DATABASE_OUTAGES, insist, is_outage

logger = logging.getLogger(__name__)

QUEUES = ("cpu", "gpu")
MAX_ERRORS = 3  # of the work itself, which another attempt rarely mends
MAX_VANISHINGS = 10  # of its workers, which are killed and restarted for reasons of their own
VANISHINGS_AT_ONCE = 2  # that another worker takes up without a pause: the lease has just run out
LONGEST_PAUSE = timedelta(hours=1)
SECONDS_BETWEEN_UPDATES = 0.5
SECONDS_OF_PREFERENCE = 300.0  # for which a worker may take what suits it before what is older

Item = TypeVar("Item", bound=WorkItem)


@dataclass
class Claim(Generic[Item]):
    """An item that a worker has claimed. ``loss`` is set when its lease is lost to another worker."""

    item: Item
    loss: threading.Event = field(default_factory=threading.Event)
    _updated_at: float = field(default_factory=time.monotonic)  # short work reports its end alone

    def progress(self, done: int, total: int) -> None:
        """Store the share that is done, at most twice a second. Raises ``LeaseLost``."""
        if self.loss.is_set():
            raise LeaseLost(str(self.item))
        if time.monotonic() - self._updated_at < SECONDS_BETWEEN_UPDATES:
            return
        try:
            self.update(done=min(self.item.total, self.item.total * done // max(1, total)))
        except DATABASE_OUTAGES as error:  # work need not end for a report: the lease says when it must
            if connection.in_atomic_block:
                raise
            logger.warning("the progress of %s could not be stored: %s", self.item, str(error).strip())
            connection.close()

    def update(self, **values: Any) -> None:
        """Store values of the item at once. Raises ``LeaseLost``."""
        self._updated_at = time.monotonic()
        if self.loss.is_set() or not _claimed_row(self.item).update(**values):
            raise LeaseLost(str(self.item))
        for name, value in values.items():
            setattr(self.item, name, value)
        self.item.after_progress()

    def confirm(self) -> None:
        """Renew the lease at once. Raises ``LeaseLost``.

        In the transaction that stores what long work made, it holds the item's row: nobody takes the item meanwhile.
        The totals of ``after_progress`` are left alone, since whoever stops work locks them before the item.
        """
        if self.loss.is_set() or not leases.renew(_claimed_row(self.item)):
            raise LeaseLost(str(self.item))


@dataclass(frozen=True)
class Handler(Generic[Item]):
    """The functions for one kind of item.

    ``run`` processes a claimed item, and returns values to store when it is finished. ``after`` is called when the item
    was finished, failed or lost. ``preferred`` returns the condition of items that suit what this process holds in
    memory, such as a model; None where it holds nothing.
    """

    run: Callable[[Claim[Item]], Mapping[str, Any] | None]
    after: Callable[[Item], None] = lambda _item: None
    preferred: Callable[[], Q | None] = lambda: None


class Turns:
    """Say whether the oldest item has its turn, once in so many seconds; at other times what suits a worker goes first.

    So nothing waits for longer than that because of a preference; an older item whose turn it is brings what it needs
    into memory, and what suits that is preferred from then on.
    """

    def __init__(self, seconds: float = SECONDS_OF_PREFERENCE) -> None:
        self.seconds = seconds
        self._oldest_at: float | None = None

    def of_the_oldest(self) -> bool:
        """Whether the next claim takes the oldest item, whatever suits the worker."""
        now = time.monotonic()
        due = self._oldest_at is None or now - self._oldest_at >= self.seconds
        if due:
            self._oldest_at = now
        return due


_turns = Turns()  # of this process


def claim(kind: type[Item], queue: str, preferred: Q | None = None) -> Item | None:
    """Take the oldest item of a queue, of those that are ``preferred`` if there are any; None when nothing is to do."""
    while True:
        now = timezone.now()
        claimable = _claimable(kind, queue, now)
        found = list(claimable.filter(preferred)[:8]) if preferred else []
        found = found or list(claimable[:8])
        if not found:
            return None
        for pk, state in found:
            vanished = state == WorkItem.State.LEASED
            row = kind.objects.claimable(now).filter(pk=pk, state=state)
            values = {"vanishings": F("vanishings") + 1} if vanished else {}
            if not leases.take(row, state=WorkItem.State.LEASED, done=0, **values):
                continue
            item: Item = kind._default_manager.get(pk=pk)  # type: ignore[assignment]
            if not vanished or item.vanishings <= VANISHINGS_AT_ONCE:
                return item
            error = f"its worker disappeared {item.vanishings} times in the middle of it"
            if item.vanishings >= MAX_VANISHINGS:
                _give_up(item, error)
            else:
                _put_back(item, error, item.vanishings - VANISHINGS_AT_ONCE)


def _claimable(kind: type[WorkItem], queue: str, now: Any) -> QuerySet[Any, Any]:
    return kind.objects.claimable(now).filter(queue=queue).order_by("pk").values_list("pk", "state")


def work_through(
    handlers: Mapping[type[Any], Handler[Any]],
    queue: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    turns: Turns = _turns,
) -> int:
    """Claim and run items of all kinds until none is left (of a queue, or of all); return how many were finished.

    Earlier kinds come first, and of a kind what suits this process, within ``turns``.

    Ends early where ``stop`` says so between two items, and after an outage: what it takes down for one item it takes
    down for the next, and the worker looks again soon.
    """
    count = 0
    queues = [queue] if queue else QUEUES
    while not stop():
        item = _next(handlers, queues, turns)
        if item is None:
            return count
        handler = handlers[type(item)]
        try:
            count += run(item, handler)
        finally:
            handler.after(item)
        if item.outages:
            return count
    return count


def _next(handlers: Mapping[type[Any], Handler[Any]], queues: Sequence[str], turns: Turns) -> Any:
    oldest = turns.of_the_oldest()
    for queue in queues:
        for kind, handler in handlers.items():
            if (item := claim(kind, queue, None if oldest else handler.preferred())) is not None:
                return item
    return None


def run(item: Item, handler: Handler[Item]) -> bool:
    """Run a claimed item and finish it; false if it failed or its lease was lost."""
    with noted(**item.log_ids()):
        return _run(item, handler)


def _run(item: Item, handler: Handler[Item]) -> bool:
    item.outages, before, begin = 0, item.outages, time.monotonic()
    try:
        with leases.heartbeat(_claimed_row(item), str(item)) as loss:
            values = handler.run(Claim(item, loss))
    except LeaseLost:
        logger.warning("%s is another worker's by now", item)
        return False
    except Exception as error:
        if lacks_models(error):  # another process has them, and this is no failure of the item's
            insist(lambda: _end(item, "", state=WorkItem.State.WAITING, not_before=None))
            raise
        if is_outage(error):
            item.outages = before + 1
        _record(item, error)
        return False
    finished = insist(lambda: finish(item, **(values or {})))
    if finished:
        logger.info("%s is done after %.1f s", item, time.monotonic() - begin)
    return finished


def _record(item: WorkItem, error: Exception) -> None:
    """Record a failed attempt: an outage is waited out, an error tried again twice, a wrong input not at all."""
    text = f"{type(error).__name__}: {error}"
    if item.outages:
        logger.warning("%s was interrupted, and is tried again: %s", item, text)
        insist(lambda: _put_back(item, text, item.outages, outages=item.outages))
    elif isinstance(error, InputError):  # another attempt would fail the same way
        logger.warning("%s: %s", item, error)
        insist(lambda: _give_up(item, str(error)))
    else:
        logger.error("%s failed (error %s of %s)", item, item.errors + 1, MAX_ERRORS, exc_info=error)
        count = item.errors + 1
        if count >= MAX_ERRORS:
            insist(lambda: _give_up(item, text, errors=count))
        else:
            insist(lambda: _put_back(item, text, count, errors=count))


def finish(item: WorkItem, **values: Any) -> bool:
    """Mark an item done, with other ``values``; false if the lease was lost, and another worker finishes it."""
    ended = {"holder": None, "lease_until": None, "error": ""}
    with transaction.atomic():
        finished = _claimed_row(item).update(state=WorkItem.State.DONE, done=F("total"), **ended, **values)
        if finished:
            item.after_progress()
    return bool(finished)


def pause_after(count: int) -> timedelta:
    """Return how long an item waits after so many failures of one kind: twice as long each time, an hour at most."""
    return min(LONGEST_PAUSE, timedelta(seconds=settings.BACKOFF_SECONDS) * 2 ** min(count, 30))


def _put_back(item: WorkItem, error: str, count: int, **values: Any) -> None:
    """Let an item wait for a later attempt, longer after each of ``count`` failures."""
    _end(item, error, state=WorkItem.State.WAITING, not_before=timezone.now() + pause_after(count), **values)


def _give_up(item: WorkItem, error: str, **values: Any) -> None:
    """Cut an item into its pieces, so that one of them does not hold up the others; a piece alone is failed."""
    with transaction.atomic():
        if not _claimed_row(item).update(error=_storable(error)):
            return
        pieces = item.cut()
        if pieces:
            kind = type(item)
            kind._default_manager.bulk_create(pieces[1:])
            rest = {"items": pieces[0].items, "total": pieces[0].total}  # type: ignore[attr-defined]
            _end(item, error, state=WorkItem.State.WAITING, not_before=None, **rest, **NO_FAILURES)
        else:
            _end(item, error, state=WorkItem.State.FAILED, not_before=None, **values)


def _end(item: WorkItem, error: str, **values: Any) -> None:
    """End an attempt without success."""
    error = _storable(error)
    with transaction.atomic():
        if _claimed_row(item).update(holder=None, lease_until=None, done=0, error=error, **values):
            item.after_progress()
            item.after_failure(error, final=values["state"] == WorkItem.State.FAILED)


def _storable(error: str) -> str:
    return without_folders(error).replace("\0", "\N{SYMBOL FOR NULL}")  # PostgreSQL stores no NUL


NO_FAILURES = {"attempts": 0, "vanishings": 0, "errors": 0, "outages": 0}


def release(items: QuerySet[Any]) -> int:
    """Let failed items, and those that wait for a later attempt, begin anew at once; return how many had failed."""
    failed = items.filter(state=WorkItem.State.FAILED)
    items.filter(state=WorkItem.State.WAITING).update(not_before=None, **NO_FAILURES)
    return failed.update(state=WorkItem.State.WAITING, not_before=None, **NO_FAILURES)


def _claimed_row(item: WorkItem) -> QuerySet[Any]:
    """Return the item's row while its claim is in force, else an empty query."""
    return type(item).objects.filter(pk=item.pk, holder=item.holder, state=WorkItem.State.LEASED)
