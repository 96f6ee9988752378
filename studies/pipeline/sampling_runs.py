"""Sampling settings tried outside a study: claimed like a batch, by a lease, and computed from cached features.

An admin tries several in one sitting: the first one encodes the prompt set, the others find its features.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import PromptSet, SamplingRun
from evenhand.studies.pipeline import prompt_pool
from evenhand.studies.work import leases, notify
from evenhand.studies.work.leases import MAX_ATTEMPTS

logger = logging.getLogger(__name__)
QUEUE = "gpu"  # encoding needs the models


def start(prompt_set: PromptSet, configuration: StudyConfiguration) -> SamplingRun:
    """Write down what is to be tried, and ring for a worker."""
    run = SamplingRun.objects.create(prompt_set=prompt_set, configuration=configuration.to_json())
    transaction.on_commit(lambda: notify.ring(QUEUE))
    return run


def work_through() -> int:
    """Claim and compute runs until none is left; returns how many were finished."""
    finished = 0
    while (run := claim()) is not None:
        finished += compute(run)
    return finished


def claim() -> SamplingRun | None:
    """Take the oldest waiting run by a conditional update; none when there is nothing to do."""
    while True:
        now = timezone.now()
        pk = SamplingRun.objects.claimable(now).order_by("pk").values_list("pk", flat=True).first()
        if pk is None:
            return None
        claimed = SamplingRun.objects.claimable(now).filter(pk=pk)
        if not leases.take(claimed, state=SamplingRun.State.RUNNING, done=0):
            continue
        run = SamplingRun.objects.select_related("prompt_set").get(pk=pk)
        if run.attempts <= MAX_ATTEMPTS:
            return run
        _fail(run, f"its worker disappeared {MAX_ATTEMPTS} times in the middle of it")


def compute(run: SamplingRun) -> bool:
    """Compute a claimed run; false if it failed or its lease was lost."""
    try:
        with leases.heartbeat(_held(run), str(run)):
            curve, removed = _curve(run)
    except ValueError as error:
        _fail(run, str(error))
        return False
    except Exception as error:
        logger.exception("%s failed", run)
        _fail(run, f"{type(error).__name__}: {error}")
        return False
    values = {"frechet_curve": curve, "removed": removed, "step": "", "error": ""}
    return bool(_held(run).update(state=SamplingRun.State.DONE, finished_at=timezone.now(), holder=None, **values))


def _curve(run: SamplingRun) -> tuple[dict[str, object], int]:
    from evenhand.metrics.frechet import FrechetReference

    prompt_set, configuration = run.prompt_set, StudyConfiguration.from_json(run.configuration)
    features = prompt_pool.features_of(prompt_set, configuration, _reporter(run, "Encoding the prompts"))
    _report(run, "Looking for repeated prompts", 0, 0)
    pool = prompt_pool.pool_of(prompt_set, configuration, features)
    _report(run, "Fitting the whole set", 0, 0)
    pool.check(configuration.subset_size)
    reference = FrechetReference(features)
    progress = _reporter(run, "Drawing subsets")
    curve = prompt_pool.curve_of(reference, pool, configuration, both=True, progress=progress)
    return curve.to_dict(), pool.removed


def _held(run: SamplingRun) -> QuerySet[SamplingRun]:
    return SamplingRun.objects.filter(pk=run.pk, holder=run.holder, state=SamplingRun.State.RUNNING)


def _report(run: SamplingRun, step: str, done: int, total: int) -> None:
    _held(run).update(step=step, done=done, total=total)


def _reporter(run: SamplingRun, step: str) -> Callable[[int, int], None]:
    """Progress of one step, written at most twice a second."""
    reported = 0.0

    def report(done: int, total: int) -> None:
        nonlocal reported
        if time.monotonic() - reported >= 0.5:
            reported = time.monotonic()
            _report(run, step, done, total)

    return report


def _fail(run: SamplingRun, error: str) -> None:
    state = SamplingRun.State.FAILED
    _held(run).update(state=state, error=error, step="", finished_at=timezone.now(), holder=None)
