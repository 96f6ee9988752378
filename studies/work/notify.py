"""Ringing: a message says only that there is work. Lost messages cost time, never work."""

from __future__ import annotations

import logging
import threading

from django.conf import settings
from django.db import connection
from django.utils import timezone

from evenhand.studies.models import SamplingRun
from evenhand.studies.work.queue import claimable

logger = logging.getLogger(__name__)
busy = threading.Event()  # set while this process works on batches: it will see new ones by itself


def ring(queue: str) -> None:
    """Tell one worker of a queue to look. A broker that does not answer is logged; the timer rings later."""
    from evenhand.studies.pipeline.tasks import work

    try:
        work.apply_async(kwargs={"queue": queue}, queue=queue, retry=False)
    except Exception as error:  # whatever the transport raises, the work is safe in the database
        logger.warning("the broker did not take a message (%s); the work waits for the next sweep", error)


def sweep() -> list[str]:
    """Ring for every queue that has claimable work; returns the queues."""
    now = timezone.now()
    queues = set(claimable(now).order_by().values_list("queue", flat=True).distinct())
    if SamplingRun.objects.claimable(now).exists():
        queues.add("gpu")  # settings that an admin tries; they need the models
    for queue in sorted(queues):
        ring(queue)
    return sorted(queues)


def start_timer() -> threading.Thread:
    """Sweep now and then every half lease (at most 10 s), for as long as the process lives."""
    interval = min(10.0, settings.LEASE_SECONDS / 2)

    def tick() -> None:
        pause = threading.Event()
        while True:
            if not busy.is_set():
                try:
                    sweep()
                except Exception:
                    logger.exception("the sweep failed; the next one follows in %.0f s", interval)
                finally:
                    connection.close()
            pause.wait(interval)

    thread = threading.Thread(target=tick, name="sweep", daemon=True)
    thread.start()
    return thread
