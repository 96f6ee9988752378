"""Batches: the database's own work queue. A claim is a lease that its holder renews; a lost lease is another's."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.work import leases
from evenhand.studies.work.leases import MAX_ATTEMPTS

BACKOFF = timedelta(seconds=5)


def claimable(now: datetime) -> QuerySet[Batch]:
    """Batches that a worker may take: waiting ones whose time has come, and those whose lease ran out.

    The conditions on the batch are its own columns and not a subquery: an update that had to wait for another one
    checks those again on PostgreSQL, while a subquery would still see the batch as it was before.
    """
    waiting = Q(state=Batch.State.WAITING) & (Q(not_before=None) | Q(not_before__lte=now))
    abandoned = Q(state=Batch.State.LEASED, lease_until__lt=now)
    running = Stage.objects.filter(state=Stage.State.RUNNING, study__state=Study.State.PREPARING)
    return Batch.objects.filter(waiting | abandoned, stage__in=running.values("pk"))


def claim(queue: str) -> Batch | None:
    """Take the next batch of a queue by a conditional update; none when there is nothing to do."""
    while True:
        now = timezone.now()
        pks = list(claimable(now).filter(queue=queue).order_by("stage_id", "number").values_list("pk", flat=True)[:8])
        if not pks:
            return None
        for pk in pks:
            if not leases.take(claimable(now).filter(pk=pk), state=Batch.State.LEASED, progress=0):
                continue
            batch = Batch.objects.select_related("stage__study__current_version").get(pk=pk)
            if batch.attempts <= MAX_ATTEMPTS:
                return batch
            fail(batch, f"its worker disappeared {MAX_ATTEMPTS} times in the middle of it", permanent=True)


def _held(batch: Batch) -> QuerySet[Batch]:
    return Batch.objects.filter(pk=batch.pk, holder=batch.holder, state=Batch.State.LEASED)


def report_progress(batch: Batch, progress: int) -> None:
    """Store how many of the batch's units are done, and the stage's sum with it."""
    _held(batch).update(progress=min(progress, batch.size))
    _sum_up(batch.stage_id)


def _sum_up(stage_id: int) -> None:
    total = (
        Batch.objects.filter(stage=OuterRef("pk")).order_by().values("stage").annotate(n=Sum("progress")).values("n")
    )
    Stage.objects.filter(pk=stage_id).update(done=Coalesce(Subquery(total), 0))


def finish(batch: Batch) -> bool:
    """Mark a batch done. False if the lease was lost: then another holder finishes it."""
    with transaction.atomic():
        done = _held(batch).update(state=Batch.State.DONE, progress=F("size"), error="", holder=None, lease_until=None)
        if done:
            _sum_up(batch.stage_id)
    return bool(done)


def fail(batch: Batch, error: str, *, permanent: bool) -> None:
    """Put a batch back for a later attempt, or give it up and with it the stage."""
    again = not permanent and batch.attempts < MAX_ATTEMPTS
    with transaction.atomic():
        changed = _held(batch).update(
            state=Batch.State.WAITING if again else Batch.State.FAILED,
            not_before=timezone.now() + BACKOFF * 2**batch.attempts if again else None,
            holder=None,
            lease_until=None,
            progress=0,
            error=error,
        )
        if changed:
            _sum_up(batch.stage_id)
            update = {"error": error} if again else {"error": error, "state": Stage.State.FAILED}
            Stage.objects.filter(pk=batch.stage_id, state=Stage.State.RUNNING).update(**update)


def release_failed(stage: Stage) -> int:
    """Give a failed stage's batches back for another round of attempts; returns how many."""
    with transaction.atomic():
        changed = Batch.objects.filter(stage=stage, state=Batch.State.FAILED).update(
            state=Batch.State.WAITING, attempts=0, not_before=None
        )
        Stage.objects.filter(pk=stage.pk, state=Stage.State.FAILED).update(state=Stage.State.RUNNING, error="")
    return changed


def heartbeat(batch: Batch) -> AbstractContextManager[threading.Event]:
    """Renew the batch's lease while the block runs; the event is set if the lease is lost."""
    return leases.heartbeat(_held(batch), f"batch {batch.pk}")
