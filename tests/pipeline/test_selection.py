"""The stages that choose prompts: what they leave where the study was taken back, or had another plan before."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from evenhand.sampling import percentiles
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import ArmRecipe, AuditEvent, Batch, CheckPair, Comparison, Recipe, Stage, Study
from evenhand.studies.pipeline import checks, pictures, prompt_pool, reading, selection
from evenhand.studies.pipeline.context import Context, StageDefinition
from evenhand.studies.undo import return_to_draft, stop_preparation
from evenhand.studies.work import queue
from evenhand.studies.work.queue import Claim, LeaseLost
from tests.helpers.factories import make_draft, make_ready_study

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def at_work(study: Study, stage: str) -> Context:
    """The context of a worker that is at the one batch of a stage."""
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    row = Stage.objects.create(study=study, name=stage, position=0, state=Stage.State.RUNNING)
    lease = {"state": Batch.State.LEASED, "holder": uuid4(), "lease_until": timezone.now()}
    items = list(study.prompt_set.prompts.values_list("pk", flat=True)[:4])
    return Context(
        study, configuration_of(study), Claim(Batch.objects.create(stage=row, number=0, items=items, **lease))
    )


@pytest.mark.parametrize(
    ("stage", "module", "work"),
    [
        (selection.PROMPTS, selection, "unknown_words"),
        (selection.PROMPTS, reading, "load_for"),
        (selection.CURVE, prompt_pool, "curve_of"),
        (selection.SUBSET, selection, "_draw_indices"),
        (selection.STRATA, percentiles, "percentile_strata"),
        (pictures.SCORE, pictures, "score_images"),
        (checks.CHECKS, checks, "planned_pairs"),
        (pictures.PAIRS, pictures, "_pairs"),
    ],
)
def test_a_study_that_returns_to_its_draft_gets_nothing_of_a_stage_at_work(
    stage: StageDefinition, module: Any, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped and thawed while the stage computes."""
    monkeypatch.setattr(queue, "SECONDS_BETWEEN_UPDATES", 3600)  # no report of progress finds out
    study = make_ready_study(attention_checks=2, subset_size=24)
    outside = study.prompt_set.prompts.filter(pk__in=CheckPair.objects.values("prompt"))
    assert study.subset is not None
    if stage is selection.SUBSET:
        study.subset.members.all().delete()
    else:
        study.subset.members.bulk_create(
            study.subset.members.model(subset=study.subset, prompt=prompt, clip_score=0.1) for prompt in outside
        )
    CheckPair.objects.all().delete()
    if stage is selection.CURVE:
        study.subset = None
    context, compute = at_work(study, stage.name), getattr(module, work)

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        result = compute(*arguments, **options)
        stop_preparation(study)
        return_to_draft(Study.objects.get(pk=study.pk))
        return result

    monkeypatch.setattr(module, work, meanwhile)
    with pytest.raises(LeaseLost):
        stage.run(context)
    study.refresh_from_db()
    assert (study.state, study.recipe, study.subset) == (Study.State.DRAFT, None, None)
    made = (Comparison, ArmRecipe, CheckPair)
    assert [kind.objects.filter(study=study).count() for kind in made] == [0, 0, 0]
    actions = set(AuditEvent.objects.filter(study=study).values_list("action", flat=True))
    assert actions == {"created", "stopped", "returned to draft"}


def test_what_is_left_of_another_plan_is_replaced() -> None:
    """Comparisons that this plan has in another order, and one more; a recipe that no arm of it has."""
    draft = make_draft()
    context = at_work(draft, "prompts")
    selection.check_prompts(context)
    planned = list(Comparison.objects.order_by("position").values_list("position", "baseline", "candidate"))
    assert [position for position, _, _ in planned] == [0, 1]
    (_, baseline, first), (_, _, second) = planned
    Comparison.objects.all().delete()
    for position, candidate in enumerate((second, first, baseline)):
        left = {"baseline_id": first if candidate == baseline else baseline, "candidate_id": candidate}
        Comparison.objects.create(study=draft, position=position, **left)
    ArmRecipe.objects.create(study=draft, arm_id=first, recipe=Recipe.objects.get())
    selection.check_prompts(context)
    assert list(Comparison.objects.order_by("position").values_list("position", "baseline", "candidate")) == planned
    assert not ArmRecipe.objects.exists()


def test_comparisons_that_have_pairs_stay() -> None:
    study = make_ready_study()
    before = list(Comparison.objects.order_by("pk").values())
    selection.check_prompts(at_work(study, "prompts"))
    assert list(Comparison.objects.order_by("pk").values()) == before
    assert Comparison.objects.exclude(pairs=None).count() == len(before)
