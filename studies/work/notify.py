"""Notify workers that work waits; a lost message only delays it, because workers also look themselves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from celery import current_app
from django.conf import settings
from django.db import connection
from django.utils import timezone

from evenhand.studies.models.work import WorkItem
from evenhand.studies.work import signs

logger = logging.getLogger(__name__)

TASK = "evenhand.work"  # sent by name, so that this module need not import what the task runs
further_work: list[Callable[[], set[str]]] = []  # each returns queues where work waits that is no item yet
busy = threading.Event()  # set while this process works through the queue, when it needs no message


def notify(queue: str) -> None:
    """Tell one worker of a queue to look. A broker's failure is only logged, because workers also look themselves."""
    try:
        current_app.send_task(TASK, kwargs={"queue": queue}, queue=queue, retry=False)
    except Exception as error:  # transports raise many kinds; the work is safe in the database
        logger.warning("the broker did not take a message (%s); the work waits until a worker looks", error)


def notify_where_work_waits() -> list[str]:
    """Notify every queue that has claimable items of any kind or further work; return the queues."""
    now = timezone.now()
    queues: set[str] = set()
    for kind in WorkItem.__subclasses__():
        queues |= set(kind.objects.claimable(now).order_by().values_list("queue", flat=True).distinct())
    for look in further_work:
        queues |= look()
    for queue in sorted(queues):
        notify(queue)
    return sorted(queues)


def start_timer(queues: str) -> threading.Thread:
    """Look for waiting work now and then every half lease (at most 10 s), for as long as the process lives.

    queues: those that the process works for, apart by commas; they stand in its sign of life.
    """
    interval = min(10.0, settings.LEASE_SECONDS / 2)

    def look() -> None:
        pause = threading.Event()
        while True:
            try:
                signs.give(queues, busy=busy.is_set())
                if not busy.is_set():
                    notify_where_work_waits()
            except Exception:
                logger.exception("looking for work failed; the next look follows in %.0f s", interval)
            finally:
                connection.close()
            pause.wait(interval)

    thread = threading.Thread(target=look, name="look for work", daemon=True)
    thread.start()
    return thread
