"""The order of the preparation's stages, their states, and going on after anything stopped it.

prompts → encode → curve → subset → baseline → score → strata → arms → screen → checks → pairs. A stage is planned into
batches when the one before it is done. Everything may be run again: what is done is found and left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from evenhand.studies import audit
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.pipeline import prompt_pool
from evenhand.studies.pipeline.checks import CHECKS
from evenhand.studies.pipeline.context import Context, Plan
from evenhand.studies.pipeline.pictures import ARMS, BASELINE, PAIRS, SCORE
from evenhand.studies.pipeline.screening import SCREEN
from evenhand.studies.pipeline.selection import CURVE, ENCODE, PROMPTS, STRATA, SUBSET
from evenhand.studies.work import notify
from evenhand.studies.work import queue as batches
from evenhand.studies.work.queue import heartbeat

logger = logging.getLogger(__name__)


class PreparationError(ValueError):
    """A study that cannot be prepared as it stands; the message says why."""


@dataclass(frozen=True)
class StageDefinition:
    """A stage's title, the queue it needs, how it is cut into batches, and what one batch does."""

    name: str
    title: str
    queue: str
    plan: Callable[[Study, StudyConfiguration], Plan]
    run: Callable[[Context], None]


DEFINITIONS: dict[str, StageDefinition] = {
    definition.name: definition
    for definition in (
        StageDefinition("prompts", "Check prompts and checkpoint", "gpu", *PROMPTS),
        StageDefinition("encode", "Encode the prompts with CLIP", "gpu", *ENCODE),
        StageDefinition("curve", "Fréchet curve", "cpu", *CURVE),
        StageDefinition("subset", "Draw the first subset", "cpu", *SUBSET),
        StageDefinition("baseline", "Generate baseline images", "gpu", *BASELINE),
        StageDefinition("score", "Score them with CLIP", "gpu", *SCORE),
        StageDefinition("strata", "Choose the final subset", "cpu", *STRATA),
        StageDefinition("arms", "Generate the other arms", "gpu", *ARMS),
        StageDefinition("screen", "Screen the pictures", "gpu", *SCREEN),
        StageDefinition("checks", "Make practice and attention checks", "cpu", *CHECKS),
        StageDefinition("pairs", "Form the pairs", "cpu", *PAIRS),
    )
}
ORDER = tuple(DEFINITIONS)


def prepare(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Freeze a draft's configuration and start its preparation; ``PreparationError`` if it cannot succeed."""
    configuration = configuration_of(study)
    _check(study, configuration)
    with transaction.atomic():
        if not Study.objects.filter(pk=study.pk, state=Study.State.DRAFT).update(state=Study.State.PREPARING):
            raise PreparationError(f"“{study.name}” is {study.state}, only a draft can be prepared")
        Stage.objects.bulk_create(
            Stage(study=study, name=name, position=position) for position, name in enumerate(ORDER)
        )
        audit.record(study, "prepared", actor=actor, version_hash=configuration.sha256)
    study.refresh_from_db(fields=["state"])
    go_on(study)


def _check(study: Study, configuration: StudyConfiguration) -> None:
    """Cheap failures first: sizes that the strata cannot be cut from."""
    from evenhand.sampling.percentiles import minimum_prompts

    count = prompt_pool.most_left(study.prompt_set, configuration)
    if configuration.subset_size > count:
        there = f"{count}" if count == study.prompt_set.count else f"{count} different ones"
        raise PreparationError(
            f"subset_size: {configuration.subset_size} prompts are asked for, “{study.prompt_set}” has {there}"
        )
    needed = minimum_prompts(configuration.percentiles, configuration.per_stratum)
    if configuration.subset_size < needed:
        raise PreparationError(
            f"subset_size: strata of {configuration.per_stratum} prompts around these percentiles need a first subset "
            f"of at least {needed} prompts, not {configuration.subset_size}"
        )
    outside = configuration.subset_size - configuration.per_stratum * len(configuration.percentiles)
    needed = configuration.checks_needed and max(2, configuration.checks_needed)
    if outside < needed:
        raise PreparationError(
            f"subset_size: practice and attention checks need {needed} prompts outside the "
            f"final subset, and {configuration.subset_size} prompts leave {outside}"
        )


def go_on(study: Study) -> None:
    """Start the first stage that is not done, if none runs; after the last one the study is ready.

    May be called at any time and by several processes at once: conditional updates settle who acts.
    """
    while True:
        current = Stage.objects.filter(study=study).exclude(state=Stage.State.DONE).order_by("position").first()
        if current is None:
            if Study.objects.filter(pk=study.pk, state=Study.State.PREPARING).update(state=Study.State.READY):
                audit.record(study, "ready")
            return
        if current.state == Stage.State.WAITING:
            _start(study, current)
        elif current.state == Stage.State.RUNNING and not _open_batches(current):
            _complete(current)
            continue
        return


def _open_batches(stage: Stage) -> bool:
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
            Batch(stage=stage, number=number, items=items, size=size, queue=definition.queue)
            for number, (items, size) in enumerate(plan)
        )
    transaction.on_commit(lambda: notify.ring(definition.queue))
    if not plan:
        go_on(study)


def _complete(stage: Stage) -> None:
    Stage.objects.filter(pk=stage.pk, state=Stage.State.RUNNING).update(
        state=Stage.State.DONE, finished_at=timezone.now(), error=""
    )


def retry(study: Study, *, actor: AbstractBaseUser | None = None) -> int:
    """Give the failed stage's batches another round of attempts; returns how many there were."""
    stage = Stage.objects.filter(study=study, state=Stage.State.FAILED).first()
    if stage is None:
        raise PreparationError(f"no stage of “{study.name}” has failed")
    released = batches.release_failed(stage)
    audit.record(study, "retried", actor=actor, stage=stage.name)
    notify.ring(DEFINITIONS[stage.name].queue)
    go_on(study)
    return released


def work_through(queue: str | None = None) -> int:
    """Claim and run batches until none is left (of a queue, or of all); returns how many were finished."""
    finished = 0
    queues = [queue] if queue else ["cpu", "gpu"]
    while True:
        batch = next((claimed for name in queues if (claimed := batches.claim(name)) is not None), None)
        if batch is None:
            return finished
        finished += run_batch(batch)
        go_on(batch.stage.study)


def run_batch(batch: Batch) -> bool:
    """Run one claimed batch and finish it; false if it failed or its lease was lost."""
    study = batch.stage.study
    context = Context(study=study, configuration=configuration_of(study), batch=batch)
    try:
        with heartbeat(batch):
            DEFINITIONS[batch.stage.name].run(context)
    except ValueError as error:  # bad input: another attempt would fail the same way
        logger.warning("%s: %s", batch.stage, error)
        batches.fail(batch, str(error), permanent=True)
        return False
    except Exception as error:
        logger.exception("batch %s of %s failed (attempt %s)", batch.number, batch.stage, batch.attempts)
        batches.fail(batch, f"{type(error).__name__}: {error}", permanent=False)
        return False
    return batches.finish(batch)
