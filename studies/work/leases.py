"""Leases: a row of work belongs to the worker that took it for as long as the worker renews its claim."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F, QuerySet
from django.utils import timezone

MAX_ATTEMPTS = 3


def take(rows: QuerySet[Any], **values: Any) -> bool:
    """Claim the one row of ``rows`` by a conditional update, with the other ``values``; false if another was faster."""
    return bool(rows.update(holder=uuid.uuid4(), lease_until=end(), attempts=F("attempts") + 1, **values))


def end() -> datetime:
    """When a lease that begins now runs out."""
    return timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)


def renew(held: QuerySet[Any]) -> bool:
    """Prolong the lease of the row that its holder finds in ``held``; false if it was lost."""
    return bool(held.update(lease_until=end()))


@contextmanager
def heartbeat(held: QuerySet[Any], name: str) -> Iterator[threading.Event]:
    """Renew a lease from a thread while the block runs; the event is set if the lease is lost."""
    stop, lost = threading.Event(), threading.Event()

    def beat() -> None:
        try:
            while not stop.wait(settings.LEASE_SECONDS / 3):
                if not renew(held):
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
