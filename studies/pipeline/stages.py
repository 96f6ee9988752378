"""Run the stages of a study's preparation in order, and resume after an interruption.

A stage is planned into batches when the one before it is done. Every stage may be run again: finished work is kept.
"""

from __future__ import annotations

import logging

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.pipeline import prompt_pool
from evenhand.studies.pipeline.checks import CHECKS
from evenhand.studies.pipeline.context import Context, StageDefinition
from evenhand.studies.pipeline.measuring import MEASURE
from evenhand.studies.pipeline.pictures import ARMS, BASELINE, PAIRS, SCORE
from evenhand.studies.pipeline.screening import SCREEN
from evenhand.studies.pipeline.selection import CURVE, ENCODE, PROMPTS, STRATA, SUBSET
from evenhand.studies.work import queue as work_queue
from evenhand.studies.work.notify import notify
from evenhand.studies.work.queue import Claim, Handler

logger = logging.getLogger(__name__)


class PreparationError(InputError):
    """A study that cannot be prepared as it stands; the message says why."""


STAGES = (PROMPTS, ENCODE, CURVE, SUBSET, BASELINE, SCORE, STRATA, ARMS, MEASURE, SCREEN, CHECKS, PAIRS)
DEFINITIONS: dict[str, StageDefinition] = {stage.name: stage for stage in STAGES}


def prepare(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Freeze a draft's configuration and start its preparation; ``PreparationError`` if it cannot succeed."""
    with transaction.atomic():
        # The update takes the row's lock before the draft is read, so that no change slips in unchecked.
        if not Study.objects.filter(pk=study.pk, state=Study.State.DRAFT).update(state=Study.State.PREPARING):
            raise PreparationError(f"“{study.name}” is {study.state}, only a draft can be prepared")
        frozen = Study.objects.select_related("current_version", "prompt_set").get(pk=study.pk)
        configuration = configuration_of(frozen)
        _check(frozen, configuration)
        Stage.objects.bulk_create(
            Stage(study=study, name=stage.name, position=position) for position, stage in enumerate(STAGES)
        )
        audit.record(study, "prepared", actor=actor, version_hash=configuration.sha256)
    study.refresh_from_db()
    advance(study)


def _check(study: Study, configuration: StudyConfiguration) -> None:
    """Raise ``PreparationError`` for sizes that the prompt set does not allow, before any model is loaded."""
    from evenhand.sampling.percentiles import minimum_prompts

    count = prompt_pool.largest_pool(study.prompt_set, configuration)
    if configuration.subset_size > count:
        number = f"{count}" if count == study.prompt_set.count else f"{count} different ones"
        raise PreparationError(
            f"subset_size: {configuration.subset_size} prompts are asked for, “{study.prompt_set}” has {number}"
        )
    minimum = minimum_prompts(configuration.percentiles, configuration.per_stratum)
    if configuration.subset_size < minimum:
        raise PreparationError(
            f"subset_size: strata of {configuration.per_stratum} prompts around these percentiles need a first subset "
            f"of at least {minimum} prompts, not {configuration.subset_size}"
        )
    rest = configuration.subset_size - configuration.per_stratum * len(configuration.percentiles)
    minimum = configuration.checks_needed and max(2, configuration.checks_needed)
    if rest < minimum:
        raise PreparationError(
            f"subset_size: practice and attention checks need {minimum} prompts outside the "
            f"final subset, and {configuration.subset_size} prompts leave {rest}"
        )


def advance(study: Study) -> None:
    """Start the first stage that is not done, if none is running; after the last one the study is ready.

    May be called at any time and by several processes at once: a conditional update lets one of them act.
    """
    while True:
        stage = Stage.objects.filter(study=study).exclude(state=Stage.State.DONE).order_by("position").first()
        if stage is None:
            if Study.objects.filter(pk=study.pk, state=Study.State.PREPARING).update(state=Study.State.READY):
                audit.record(study, "ready")
            return
        if stage.state == Stage.State.WAITING:
            _start(study, stage)
        elif stage.state == Stage.State.RUNNING and not _has_open_batches(stage):
            _complete(stage)
            continue
        return


def _idle() -> QuerySet[Study]:
    """Return the preparations without an open batch: a worker ended after the last one, before the next stage."""
    open_batches = Batch.objects.filter(stage__study=OuterRef("pk")).exclude(state=Batch.State.DONE)
    return Study.objects.filter(~Exists(open_batches), state=Study.State.PREPARING)


def idle_queues() -> set[str]:
    """Return the queue whose worker is to call ``advance_idle``, if there is anything to advance."""
    return {"cpu"} if _idle().exists() else set()


def advance_idle() -> None:
    """Advance every preparation that nobody advances; a failure of one is logged and does not stop the others."""
    for study in _idle().select_related("current_version", "prompt_set"):
        try:
            advance(study)
        except Exception:
            logger.exception("“%s” could not be advanced", study)


def _has_open_batches(stage: Stage) -> bool:
    return Batch.objects.filter(stage=stage).exclude(state=Batch.State.DONE).exists()


def _start(study: Study, stage: Stage) -> None:
    definition = DEFINITIONS[stage.name]
    plan = definition.plan(study, configuration_of(study))
    with transaction.atomic():
        started = Stage.objects.filter(pk=stage.pk, state=Stage.State.WAITING).update(
            state=Stage.State.RUNNING, started_at=timezone.now(), total=sum(size for _, size in plan), done=0
        )
        if not started:
            return
        Batch.objects.bulk_create(
            Batch(stage=stage, number=number, items=items, total=size, queue=definition.queue)
            for number, (items, size) in enumerate(plan)
        )
    transaction.on_commit(lambda: notify(definition.queue))
    if not plan:
        advance(study)


def _complete(stage: Stage) -> None:
    Stage.objects.filter(pk=stage.pk, state=Stage.State.RUNNING).update(
        state=Stage.State.DONE, finished_at=timezone.now(), error="", done=F("total")
    )


def retry(study: Study, *, actor: AbstractBaseUser | None = None) -> int:
    """Give the failed stage's batches another round of attempts; return how many there were."""
    stage = Stage.objects.filter(study=study, state=Stage.State.FAILED).first()
    if stage is None:
        raise PreparationError(f"no stage of “{study.name}” has failed")
    with transaction.atomic():
        count = work_queue.release(Batch.objects.filter(stage=stage))
        Stage.objects.filter(pk=stage.pk, state=Stage.State.FAILED).update(state=Stage.State.RUNNING, error="")
    audit.record(study, "retried", actor=actor, stage=stage.name)
    notify(DEFINITIONS[stage.name].queue)
    advance(study)
    return count


def work_through(queue: str | None = None) -> int:
    """Claim and run batches until none is left (of a queue, or of all); return how many were finished."""
    return work_queue.work_through({Batch: HANDLER}, queue)


def run_batch(claim: Claim[Batch]) -> None:
    """Run one claimed batch."""
    study = claim.item.stage.study
    context = Context(study, configuration_of(study), claim)
    DEFINITIONS[claim.item.stage.name].run(context)


HANDLER = Handler(run_batch, after=lambda batch: advance(batch.stage.study))
