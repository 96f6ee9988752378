"""Define the Celery task, which claims work from the database: its messages carry none."""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import shared_task
from celery.worker import state as worker_state
from django.db import connection

from evenhand.studies import prompt_uploads
from evenhand.studies.models import Batch, RecipeCheck, SamplingRun, ScoringPart, SemanticMap
from evenhand.studies.pipeline import lost_pictures, recipe_checks, sampling_runs, scorings, semantic_maps, stages
from evenhand.studies.watching.preparation import mark_progress
from evenhand.studies.work import notify, signs
from evenhand.studies.work.outage import is_outage
from evenhand.studies.work.queue import Handler, work_through

logger = logging.getLogger(__name__)

HANDLERS: dict[type[Any], Handler[Any]] = {
    RecipeCheck: recipe_checks.HANDLER,  # which somebody waits for
    SemanticMap: semantic_maps.HANDLER,
    Batch: stages.HANDLER,
    SamplingRun: sampling_runs.HANDLER,
    ScoringPart: scorings.HANDLER,
}


def _forget_uploads() -> set[str]:
    """Remove prompt files that were uploaded and left; no queue has work from that."""
    prompt_uploads.remove_old()
    return set()


# Celery runs a message that was sent with a delay, which nothing here does, in its timer's thread beside the one in
# hand; libraries that load models in one thread change what the others see.
_one_at_a_time = threading.Lock()

notify.further_work += [stages.idle_queues, _forget_uploads]
signs.beside += [mark_progress]


@shared_task(name=notify.TASK)
def work(queue: str = "cpu") -> int:
    """Claim and run a queue's items, in the order of ``HANDLERS``; return how many were finished.

    A worker that was told to end ends after the item in its hands.
    """
    with _one_at_a_time:
        return _work(queue)


def _work(queue: str) -> int:
    notify.busy.set()
    try:
        stages.advance_idle()
        return work_through(HANDLERS, queue, stop=lambda: worker_state.should_stop is not None)
    except Exception as error:
        if not is_outage(error):
            raise
        logger.warning("the work on “%s” was interrupted, and goes on later: %s", queue, str(error).strip())
        connection.close()
        return 0
    finally:
        notify.busy.clear()


@shared_task(name="evenhand.resume")
def resume() -> list[str]:
    """Find stalled work, advance preparations that nobody advances, and notify the queues; return these."""
    stages.advance_idle()
    return notify.notify_where_work_waits()


@shared_task(name="evenhand.restore_pictures")
def restore_pictures() -> int:
    """Make pictures of open studies again whose files are lost; return how many."""
    with _one_at_a_time:
        if worker_state.should_stop is not None:
            return 0
        return len(lost_pictures.restore(lost_pictures.lost(lost_pictures.of_open_studies())).restored)
