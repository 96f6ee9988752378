"""Celery's entry points: they take no work, only the news that there is some."""

from __future__ import annotations

from celery import shared_task

from evenhand.studies.pipeline import sampling_runs, stages
from evenhand.studies.work import notify


@shared_task
def work(queue: str = "cpu") -> int:
    """Work through a queue's batches, then its tried settings, until none is left; returns how many were done."""
    notify.busy.set()
    try:
        done = stages.work_through(queue)
        return done + (sampling_runs.work_through() if queue == sampling_runs.QUEUE else 0)
    finally:
        notify.busy.clear()


@shared_task
def sweep() -> list[str]:
    """Ring for every queue that has claimable work."""
    return notify.sweep()
