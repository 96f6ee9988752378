"""Tell how a preparation goes on: stages with rate and time left, whether a worker is there, what is before it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from evenhand.studies.models import Batch, Stage, Study, WorkerSign
from evenhand.studies.pipeline.stages import DEFINITIONS
from evenhand.studies.work import signs

WINDOW = 600  # seconds of progress that a rate is taken over
STILL_AFTER = timedelta(minutes=10)


@dataclass(frozen=True)
class StageLine:
    """A stage as the page shows it. ``rate``: units a second; ``left``: seconds; None where it cannot be known."""

    stage: Stage
    title: str
    percent: int
    rate: float | None
    left: float | None
    recent: bool = False  # the rate is that of the last minutes, and not since the stage began


@dataclass(frozen=True)
class WorkerState:
    """Whether somebody works for the stage that is running.

    alive: workers of its queue seen in the last five minutes. last_seen: of any such worker. ahead: batches of other
    studies that come first.
    """

    queue: str
    alive: int
    busy: int
    last_seen: datetime | None
    ahead: int


def mark_progress() -> None:
    """Note how far each running stage is, beside the notes of the last minutes; workers call it twice a minute."""
    now = time.time()
    for stage in Stage.objects.filter(state=Stage.State.RUNNING, study__state=Study.State.PREPARING):
        marks = [mark for mark in stage.marks if now - WINDOW <= mark[0]]
        if not marks or now - marks[-1][0] >= signs.EVERY.total_seconds() / 2:  # another worker has just noted it
            Stage.objects.filter(pk=stage.pk).update(marks=[*marks, [round(now, 1), stage.done]])


def stage_line(stage: Stage) -> StageLine:
    """Return a stage as pages show it."""
    percent = 100 * stage.done // stage.total if stage.total else (100 if stage.state == Stage.State.DONE else 0)
    rate, recent = _rate(stage)
    left = (stage.total - stage.done) / rate if rate and stage.state == Stage.State.RUNNING else None
    return StageLine(stage, DEFINITIONS[stage.name].title, percent, rate, left, recent)


def _rate(stage: Stage) -> tuple[float | None, bool]:
    """Return units a second, and whether they are of the last minutes; else of the whole stage."""
    now = time.time()
    marks = [mark for mark in stage.marks if now - WINDOW <= mark[0] < now and mark[1] <= stage.done]
    if stage.state == Stage.State.RUNNING and marks and now - marks[0][0] >= signs.EVERY.total_seconds():
        return (stage.done - marks[0][1]) / (now - marks[0][0]), True
    if stage.started_at is None or not stage.done:
        return None, False
    seconds = ((stage.finished_at or timezone.now()) - stage.started_at).total_seconds()
    return (stage.done / seconds if seconds > 0 else None), False


def standing_still(stages: Iterable[Stage]) -> set[int]:
    """Return the numbers of the running stages that stand still, by one query at most.

    They have made no progress for ten minutes while somebody looked, though a worker holds a batch of theirs or nothing
    of other studies comes before them.
    """
    still = {stage.pk for stage in stages if _made_no_progress(stage)}
    return still - _waiting_their_turn() if still else still


def _waiting_their_turn() -> set[int]:
    """Return the running stages of which no batch is held, while an older batch of another stage is open."""
    rows = _open_batches().order_by().values_list("stage", "queue")
    turns = list(rows.annotate(first=Min("pk"), held=Count("pk", filter=Q(state=Batch.State.LEASED))))
    oldest: dict[str, int] = {}
    for _, queue, first, _ in turns:
        oldest[queue] = min(first, oldest.get(queue, first))
    return {stage for stage, queue, first, held in turns if not held and first > oldest[queue]}


def _open_batches() -> QuerySet[Batch]:
    return Batch.objects.filter(
        state__in=(Batch.State.WAITING, Batch.State.LEASED),
        stage__state=Stage.State.RUNNING,
        stage__study__state=Study.State.PREPARING,
    )


def _made_no_progress(stage: Stage) -> bool:
    if stage.state != Stage.State.RUNNING or not stage.marks:
        return False
    since = time.time() - 0.9 * STILL_AFTER.total_seconds()
    return bool(stage.marks[0][0] <= since and all(mark[1] == stage.done for mark in stage.marks))


def worker_state(stage: Stage, known: list[WorkerSign]) -> WorkerState:
    """Say who works for a running stage, and what is before it; one query."""
    queue = DEFINITIONS[stage.name].queue
    alive = signs.alive(queue, known)
    seen = [sign.seen_at for sign in known if queue in sign.queues.split(",")]
    open_batches = _open_batches().filter(queue=queue)
    own = open_batches.filter(stage=stage).order_by("pk").values("pk")[:1]
    ahead = open_batches.exclude(stage=stage).filter(pk__lt=own).count()
    return WorkerState(queue, len(alive), sum(sign.busy for sign in alive), max(seen, default=None), ahead)
