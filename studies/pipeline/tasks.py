"""Celery's entry points: they take no work, only the news that there is some."""

from __future__ import annotations

from celery import shared_task

from studies.pipeline import doorbell, stages, tries


@shared_task
def work(queue: str = "cpu") -> int:
    """Work through a queue's batches, then its tried settings, until none is left; returns how many were done."""
    doorbell.busy.set()
    try:
        done = stages.work_through(queue)
        return done + (tries.work_through() if queue == tries.QUEUE else 0)
    finally:
        doorbell.busy.clear()


@shared_task
def sweep() -> list[str]:
    """Ring for every queue that has claimable work."""
    return doorbell.sweep()
