"""Use the database as a queue: claim an item, run it, store its progress, record how it ended.

An item is a row of any model that inherits ``WorkItem``. Claiming, finishing and failing are conditional updates whose
count is checked, so that several workers and a late one never act on the same claim.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies.models.work import WorkItem
from evenhand.studies.work import leases
from evenhand.studies.work.leases import LeaseLost

logger = logging.getLogger(__name__)

QUEUES = ("cpu", "gpu")
MAX_ATTEMPTS = 3
BACKOFF = timedelta(seconds=5)
SECONDS_BETWEEN_UPDATES = 0.5

Item = TypeVar("Item", bound=WorkItem)


@dataclass
class Claim(Generic[Item]):
    """An item that a worker has claimed. ``loss`` is set when its lease is lost to another worker."""

    item: Item
    loss: threading.Event = field(default_factory=threading.Event)
    _updated_at: float = field(default=-SECONDS_BETWEEN_UPDATES)

    def progress(self, done: int, total: int) -> None:
        """Store the share that is done, at most twice a second. Raises ``LeaseLost``."""
        if self.loss.is_set():
            raise LeaseLost(str(self.item))
        if time.monotonic() - self._updated_at >= SECONDS_BETWEEN_UPDATES:
            self.update(done=min(self.item.total, self.item.total * done // max(1, total)))

    def update(self, **values: Any) -> None:
        """Store values of the item at once. Raises ``LeaseLost``."""
        self._updated_at = time.monotonic()
        if self.loss.is_set() or not _claimed_row(self.item).update(**values):
            raise LeaseLost(str(self.item))
        for name, value in values.items():
            setattr(self.item, name, value)
        self.item.after_progress()


@dataclass(frozen=True)
class Handler(Generic[Item]):
    """The two functions for one kind of item.

    ``run`` processes a claimed item, and returns values to store when it is finished. ``after`` is called when the item
    was finished, failed or lost.
    """

    run: Callable[[Claim[Item]], Mapping[str, Any] | None]
    after: Callable[[Item], None] = lambda _item: None


def claim(kind: type[Item], queue: str) -> Item | None:
    """Take the next item of a queue; None when there is nothing to do."""
    while True:
        now = timezone.now()
        pks = list(_claimable(kind, queue, now)[:8])
        if not pks:
            return None
        for pk in pks:
            if not leases.take(kind.objects.claimable(now).filter(pk=pk), state=WorkItem.State.LEASED, done=0):
                continue
            item: Item = kind._default_manager.get(pk=pk)  # type: ignore[assignment]
            if item.attempts <= MAX_ATTEMPTS:
                return item
            fail(item, f"its worker disappeared {MAX_ATTEMPTS} times in the middle of it", final=True)


def _claimable(kind: type[WorkItem], queue: str, now: Any) -> QuerySet[Any, Any]:
    return kind.objects.claimable(now).filter(queue=queue).order_by("pk").values_list("pk", flat=True)


def work_through(handlers: Mapping[type[Any], Handler[Any]], queue: str | None = None) -> int:
    """Claim and run items of all kinds until none is left (of a queue, or of all); return how many were finished."""
    count = 0
    queues = [queue] if queue else QUEUES
    while True:
        item = next((item for name in queues for kind in handlers if (item := claim(kind, name)) is not None), None)
        if item is None:
            return count
        handler = handlers[type(item)]
        count += run(item, handler)
        handler.after(item)


def run(item: Item, handler: Handler[Item]) -> bool:
    """Run a claimed item and finish it; false if it failed or its lease was lost."""
    try:
        with leases.heartbeat(_claimed_row(item), str(item)) as loss:
            values = handler.run(Claim(item, loss))
    except LeaseLost:
        logger.warning("%s is another worker's by now", item)
        return False
    except InputError as error:  # another attempt would fail the same way
        logger.warning("%s: %s", item, error)
        fail(item, str(error), final=True)
        return False
    except Exception as error:
        logger.exception("%s failed (attempt %s)", item, item.attempts)
        fail(item, f"{type(error).__name__}: {error}", final=False)
        return False
    return finish(item, **(values or {}))


def finish(item: WorkItem, **values: Any) -> bool:
    """Mark an item done, with other ``values``; false if the lease was lost, and another worker finishes it."""
    ended = {"holder": None, "lease_until": None, "error": ""}
    with transaction.atomic():
        finished = _claimed_row(item).update(state=WorkItem.State.DONE, done=F("total"), **ended, **values)
        if finished:
            item.after_progress()
    return bool(finished)


def fail(item: WorkItem, error: str, *, final: bool) -> None:
    """Put an item back for a later attempt, or mark it failed after the last attempt and where ``final`` is true."""
    final = final or item.attempts >= MAX_ATTEMPTS
    error = error.replace("\0", "\N{SYMBOL FOR NULL}")  # PostgreSQL stores no NUL
    with transaction.atomic():
        row_count = _claimed_row(item).update(
            state=WorkItem.State.FAILED if final else WorkItem.State.WAITING,
            not_before=None if final else timezone.now() + BACKOFF * 2**item.attempts,
            holder=None,
            lease_until=None,
            done=0,
            error=error,
        )
        if row_count:
            item.after_progress()
            item.after_failure(error, final=final)


def release(items: QuerySet[Any]) -> int:
    """Give failed items another round of attempts; return how many there were."""
    failed = items.filter(state=WorkItem.State.FAILED)
    return failed.update(state=WorkItem.State.WAITING, attempts=0, not_before=None)


def _claimed_row(item: WorkItem) -> QuerySet[Any]:
    """Return the item's row while its claim is in force, else an empty query."""
    return type(item).objects.filter(pk=item.pk, holder=item.holder, state=WorkItem.State.LEASED)
