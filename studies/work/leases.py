"""Leases: an item belongs to the worker that took it for as long as the worker renews its claim."""

from __future__ import annotations

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
    """The item is another worker's by now: stop, and store nothing more of it."""


def take(items: QuerySet[Any], **values: Any) -> bool:
    """Claim the one item of ``items`` by a conditional update, with other ``values``; false if another was faster."""
    return bool(items.update(holder=uuid.uuid4(), lease_until=end(), attempts=F("attempts") + 1, **values))


def end() -> datetime:
    """When a lease that begins now runs out."""
    return timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)


def renew(held: QuerySet[Any]) -> bool:
    """Prolong the lease of the item that its holder finds in ``held``; false if it was lost."""
    return bool(held.update(lease_until=end()))


@contextmanager
def heartbeat(held: QuerySet[Any], name: str) -> Iterator[threading.Event]:
    """Renew a lease from a thread while the block runs; the event is set when the lease is lost.

    A database that does not answer is asked again until the lease has run out: then it counts as lost, because another
    worker may take the item at any moment.
    """
    stop, lost = threading.Event(), threading.Event()

    def beat() -> None:
        renewed = time.monotonic()
        try:
            while not stop.wait(settings.LEASE_SECONDS / 3):
                try:
                    still_held = renew(held)
                except DatabaseError as error:
                    logger.warning("the lease of %s could not be renewed: %s", name, error)
                    connection.close()
                    still_held = time.monotonic() - renewed < settings.LEASE_SECONDS
                else:
                    renewed = time.monotonic()
                if not still_held:
                    lost.set()
                    return
        finally:
            connection.close()

    thread = threading.Thread(target=beat, name=f"lease of {name}", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        stop.set()
        thread.join()
