"""Let workers give a sign of life, so that a page can say whether anybody works."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone

from evenhand.studies.models.work import WorkerSign

EVERY = timedelta(seconds=30)
SILENT_AFTER = timedelta(minutes=5)
FORGOTTEN_AFTER = timedelta(days=7)

beside: list[Callable[[], None]] = []  # what else is looked at whenever a sign is given, also by a busy worker


def give(queues: str, *, busy: bool = False) -> bool:
    """Write this process's sign, where its last one is at least 30 seconds old; whether it was written.

    queues: those that the process works for, apart by commas.
    """
    now = timezone.now()
    name = f"{socket.gethostname()[:100]} {os.getpid()}"
    own = WorkerSign.objects.filter(name=name)
    if not own.filter(seen_at__lte=now - EVERY).update(seen_at=now, busy=busy, queues=queues):
        if own.exists():
            return False
        WorkerSign.objects.create(name=name, queues=queues, busy=busy, seen_at=now)
        WorkerSign.objects.filter(seen_at__lt=now - FORGOTTEN_AFTER).delete()
    for look in beside:
        look()
    return True


def alive(queue: str, signs: list[WorkerSign]) -> list[WorkerSign]:
    """Return those of the signs that are recent and of workers for a queue."""
    recent = timezone.now() - SILENT_AFTER
    return [sign for sign in signs if sign.seen_at >= recent and queue in sign.queues.split(",")]
