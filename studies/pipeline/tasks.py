"""Celery's entry points: they take no work, only the news that there is some."""

from __future__ import annotations

from celery import shared_task

from studies.pipeline import doorbell, stages


@shared_task
def work(queue: str = "cpu") -> int:
    """Work through a queue's batches until none is left; returns how many were done."""
    doorbell.busy.set()
    try:
        return stages.work_through(queue)
    finally:
        doorbell.busy.clear()


@shared_task
def sweep() -> list[str]:
    """Ring for every queue that has claimable work."""
    return doorbell.sweep()
