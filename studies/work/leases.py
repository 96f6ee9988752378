"""Lease an item to one worker for as long as the worker renews its claim."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import F, QuerySet
from django.utils import timezone

logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another worker may have claimed the item: the run must stop, and store nothing more of it."""


def take(items: QuerySet[Any], **values: Any) -> bool:
    """Claim the one item of ``items`` by a conditional update, with other ``values``; false if another was faster."""
    return bool(items.update(holder=uuid.uuid4(), lease_until=end(), attempts=F("attempts") + 1, **values))


def end() -> datetime:
    """Return the time when a lease that begins now runs out."""
    return timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)


def renew(claimed_row: QuerySet[Any]) -> bool:
    """Prolong the lease of the one item in ``claimed_row``; false if it is not there, because the lease was lost."""
    return bool(claimed_row.update(lease_until=end()))


@contextmanager
def heartbeat(claimed_row: QuerySet[Any], name: str) -> Iterator[threading.Event]:
    """Renew a lease from a thread while the block runs; the event is set when the lease is lost.

    ``claimed_row`` is the item's row while its holder holds it, and empty afterwards. Where the database does not
    answer, the renewal is tried again until the lease has run out: then it counts as lost, because another worker may
    take the item at any moment.
    """
    stop, loss = threading.Event(), threading.Event()

    def beat() -> None:
        last_renewal = time.monotonic()
        try:
            while not stop.wait(settings.LEASE_SECONDS / 3):
                try:
                    in_force = renew(claimed_row)
                except DatabaseError as error:
                    logger.warning("the lease of %s could not be renewed: %s", name, error)
                    connection.close()
                    in_force = time.monotonic() - last_renewal < settings.LEASE_SECONDS
                else:
                    last_renewal = time.monotonic()
                if not in_force:
                    loss.set()
                    return
        finally:
            connection.close()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(beat,), name=f"lease of {name}", daemon=True)
    thread.start()
    try:
        yield loss
    finally:
        stop.set()
        thread.join()
