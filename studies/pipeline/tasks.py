"""Define the Celery task, which claims work from the database: its messages carry none."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from evenhand.studies import prompt_uploads
from evenhand.studies.models import Batch, SamplingRun, ScoringPart
from evenhand.studies.pipeline import sampling_runs, scorings, stages
from evenhand.studies.work import notify
from evenhand.studies.work.queue import Handler, work_through

HANDLERS: dict[type[Any], Handler[Any]] = {
    Batch: stages.HANDLER,
    SamplingRun: sampling_runs.HANDLER,
    ScoringPart: scorings.HANDLER,
}


def _forget_uploads() -> set[str]:
    """Remove prompt files that were uploaded and left; no queue has work from that."""
    prompt_uploads.remove_old()
    return set()


notify.further_work += [stages.idle_queues, _forget_uploads]


@shared_task(name=notify.TASK)
def work(queue: str = "cpu") -> int:
    """Claim and run a queue's items, batches before sampling runs and scorings; return how many were finished."""
    notify.busy.set()
    try:
        stages.advance_idle()
        return work_through(HANDLERS, queue)
    finally:
        notify.busy.clear()
