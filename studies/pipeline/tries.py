"""Sampling settings tried outside a study: claimed like a batch, by a lease, and computed from cached features.

An admin tries several in one sitting: the first one encodes the prompt set, the others find its features.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from studies.configuration import StudyConfiguration
from studies.models import PromptSet, SamplingRun
from studies.pipeline import doorbell, draws

logger = logging.getLogger(__name__)
QUEUE = "gpu"  # encoding needs the models
MAX_ATTEMPTS = 3


def start(prompt_set: PromptSet, configuration: StudyConfiguration) -> SamplingRun:
    """Write down what is to be tried, and ring for a worker."""
    run = SamplingRun.objects.create(prompt_set=prompt_set, configuration=configuration.to_json())
    transaction.on_commit(lambda: doorbell.ring(QUEUE))
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
        taken = (
            SamplingRun.objects.claimable(now)
            .filter(pk=pk)
            .update(
                state=SamplingRun.State.RUNNING,
                holder=uuid.uuid4(),
                lease_until=_lease(),
                attempts=F("attempts") + 1,
                done=0,
            )
        )
        if not taken:
            continue
        run = SamplingRun.objects.select_related("prompt_set").get(pk=pk)
        if run.attempts <= MAX_ATTEMPTS:
            return run
        _fail(run, f"its worker disappeared {MAX_ATTEMPTS} times in the middle of it")


def compute(run: SamplingRun) -> bool:
    """Compute a claimed run; false if it failed or its lease was lost."""
    try:
        with _heartbeat(run):
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
    from metrics.frechet import FrechetReference

    prompt_set, configuration = run.prompt_set, StudyConfiguration.from_json(run.configuration)
    features = draws.features_of(prompt_set, configuration, _reporter(run, "Encoding the prompts"))
    _report(run, "Looking for repeated prompts", 0, 0)
    pool = draws.pool_of(prompt_set, configuration, features)
    _report(run, "Fitting the whole set", 0, 0)
    pool.check(configuration.subset_size)
    reference = FrechetReference(features)
    progress = _reporter(run, "Drawing subsets")
    curve = draws.curve_of(reference, pool, configuration, both=True, progress=progress)
    return curve.to_dict(), pool.removed


def _held(run: SamplingRun) -> QuerySet[SamplingRun]:
    return SamplingRun.objects.filter(pk=run.pk, holder=run.holder, state=SamplingRun.State.RUNNING)


def _lease() -> datetime:
    return timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)


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


@contextmanager
def _heartbeat(run: SamplingRun) -> Iterator[None]:
    """Renew the lease from a thread while the block runs."""
    stop = threading.Event()

    def beat() -> None:
        try:
            while not stop.wait(settings.LEASE_SECONDS / 3):
                if not _held(run).update(lease_until=_lease()):
                    return
        finally:
            connection.close()

    thread = threading.Thread(target=beat, name=f"lease of {run}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
