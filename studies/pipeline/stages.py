"""Run the stages of a study's preparation in order, and resume after an interruption.

A stage is planned into batches when the one before it is done. Every stage may be run again: finished work is kept.
"""

from __future__ import annotations

import logging

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Batch, Recipe, Stage, Study
from evenhand.studies.pipeline import model_cache, prompt_pool, setting_aside
from evenhand.studies.pipeline.checks import CHECKS
from evenhand.studies.pipeline.context import Context, StageDefinition
from evenhand.studies.pipeline.differences import DIFFERENCES
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


STAGES = (PROMPTS, ENCODE, CURVE, SUBSET, BASELINE, SCORE, STRATA, ARMS, MEASURE, SCREEN, CHECKS, PAIRS, DIFFERENCES)
DEFINITIONS: dict[str, StageDefinition] = {stage.name: stage for stage in STAGES}


def prepare(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Freeze a draft's configuration and start its preparation; ``PreparationError`` if it cannot succeed."""
    with transaction.atomic():
        # The update takes the row's lock before the draft is read, so that no change slips in unchecked.
        if not Study.objects.filter(pk=study.pk, state=Study.State.DRAFT).update(state=Study.State.PREPARING):
            raise PreparationError(f"“{study.name}” is {study.state}, only a draft can be prepared")
        frozen = Study.objects.select_related("current_version", "prompt_set").get(pk=study.pk)
        configuration = configuration_of(frozen)
        check_sizes(frozen, configuration)
        Stage.objects.bulk_create(
            Stage(study=study, name=stage.name, position=position) for position, stage in enumerate(STAGES)
        )
        audit.record(study, "prepared", actor=actor, version_hash=configuration.sha256)
    study.refresh_from_db()
    advance(study)


def check_sizes(study: Study, configuration: StudyConfiguration) -> None:
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
            return
        if stage.state == Stage.State.FAILED or _open_batches().filter(stage=stage).exists():
            return
        if not setting_aside.complete(stage):
            return


def _open_batches() -> QuerySet[Batch]:
    return Batch.objects.filter(state__in=(Batch.State.WAITING, Batch.State.LEASED))


def _idle() -> QuerySet[Study]:
    """Return the preparations without an open batch: a worker ended after the last one, before the next stage."""
    stages = Stage.objects.filter(study=OuterRef("pk"), state=Stage.State.FAILED)
    open_batches = _open_batches().filter(stage__study=OuterRef("pk"))
    return Study.objects.filter(~Exists(open_batches), ~Exists(stages), state=Study.State.PREPARING)


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


def _start(study: Study, stage: Stage) -> None:
    definition = DEFINITIONS[stage.name]
    try:
        plan = definition.plan(study, configuration_of(study))
    except InputError as error:
        Stage.objects.filter(pk=stage.pk, state=Stage.State.WAITING).update(state=Stage.State.FAILED, error=str(error))
        return
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


def retry(study: Study, *, actor: AbstractBaseUser | None = None) -> int:
    """Give the failed stage's batches another round of attempts; return how many there were."""
    stage = Stage.objects.filter(study=study, state=Stage.State.FAILED).first()
    if stage is None:
        raise PreparationError(f"no stage of “{study.name}” has failed")
    with transaction.atomic():
        batches = Batch.objects.filter(stage=stage)
        state = Stage.State.RUNNING if batches.exists() else Stage.State.WAITING  # its planning failed
        count = work_queue.release(batches)
        Stage.objects.filter(pk=stage.pk, state=Stage.State.FAILED).update(state=state, error="")
    audit.record(study, "retried", actor=actor, stage=stage.name)
    notify(DEFINITIONS[stage.name].queue)
    advance(study)
    return count


def work_through(queue: str | None = None) -> int:
    """Claim and run batches until none is left (of a queue, or of all); return how many were finished."""
    return work_queue.work_through({Batch: HANDLER}, queue)


def run_batch(claim: Claim[Batch]) -> None:
    """Run one claimed batch."""
    stage = stage_of(claim.item)
    context = Context(stage.study, configuration_of(stage.study), claim)
    DEFINITIONS[stage.name].run(context)


def stage_of(batch: Batch) -> Stage:
    """Return a batch's stage with all that its run reads of the study; one query, once for each batch."""
    if "stage" not in batch._state.fields_cache:
        related = ("study__current_version", "study__recipe", "study__prompt_set")
        batch.stage = Stage.objects.select_related(*related).get(pk=batch.stage_id)
    return batch.stage


def suits_the_model_in_memory() -> Q | None:
    """Return the condition of batches that this process's image model draws, so that it need not load another one."""
    held = model_cache.held()
    if held is None:
        return None
    checkpoint, revision, dtype = held
    recipes = Recipe.objects.filter(checkpoint=checkpoint, revision=revision, dtype=dtype)
    numbers = list(recipes.values_list("pk", flat=True))
    named = Q(items__0__recipe__in=numbers)  # by a batch whose arms have a recipe of their own
    return named | Q(items__0__recipe__isnull=True, stage__study__recipe__in=numbers)


HANDLER = Handler(run_batch, after=lambda batch: advance(stage_of(batch).study), preferred=suits_the_model_in_memory)
