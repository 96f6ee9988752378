"""The Celery task. Its message carries no work: the work is rows in the database, which the task claims."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from evenhand.studies.models import Batch, SamplingRun
from evenhand.studies.pipeline import sampling_runs, stages
from evenhand.studies.work import notify
from evenhand.studies.work.queue import Handler, work_through

HANDLERS: dict[type[Any], Handler[Any]] = {Batch: stages.HANDLER, SamplingRun: sampling_runs.HANDLER}


@shared_task(name=notify.TASK)
def work(queue: str = "cpu") -> int:
    """Claim and run what waits in a queue, batches of studies before tried settings; returns how many were done."""
    notify.busy.set()
    try:
        return work_through(HANDLERS, queue)
    finally:
        notify.busy.clear()
