"""The check pairs that a study makes itself: outside the final subset, one picture plainly worse, made once."""

from __future__ import annotations

import numpy as np
import pytest

from evenhand.generation.images import decode_png
from evenhand.studies.models import CheckPair, Image, SubsetPrompt
from evenhand.studies.pipeline import stages
from evenhand.studies.pipeline.checks import make_checks
from evenhand.studies.pipeline.context import Context
from evenhand.studies.work.queue import Claim
from tests.helpers.factories import make_draft, make_ready_study
from tests.helpers.stored import image_path

pytestmark = pytest.mark.django_db


def pixels(image: Image) -> np.ndarray:
    return decode_png(image_path(image.sha256).read_bytes()).astype(float)


def test_they_are_made_from_prompts_outside_the_final_subset() -> None:
    study = make_draft(introduction=True, practice_trials=2, attention_checks=1, per_stratum=2)
    stages.prepare(study)
    stages.work_through()
    study.refresh_from_db()
    pairs = list(study.check_pairs.select_related("prompt", "better__prompt", "worse__prompt"))
    assert [pair.use for pair in pairs] == ["example", "practice", "practice", *["attention"] * 4]
    assert [pair.fault for pair in pairs] == ["other_prompt", "damaged"] * 3 + ["other_prompt"]
    members = SubsetPrompt.objects.filter(subset=study.subset)
    final = set(members.exclude(stratum="").values_list("prompt__text", flat=True))
    scores = {member.prompt_id: member.clip_score or 0.0 for member in members.exclude(prompt__text__in=final)}
    chosen = {pair.prompt_id for pair in pairs}
    assert len(chosen) == len(pairs)
    assert not {pair.prompt.text for pair in pairs} & final
    assert min(scores[pk] for pk in chosen) >= max(score for pk, score in scores.items() if pk not in chosen)
    for pair in pairs:
        assert pair.better.prompt == pair.prompt
        if pair.fault == CheckPair.Fault.DAMAGED:
            assert pair.worse.kind == Image.Kind.ALTERED
            assert pair.worse.provenance["source_sha256"] == pair.better.sha256
            assert np.abs(pixels(pair.worse) - pixels(pair.better)).mean() > 30
        else:
            assert pair.worse.prompt.text != pair.prompt.text
    before = list(CheckPair.objects.values())
    batch = study.stages.get(name="checks").batches.get()
    make_checks(Context(study, stages.configuration_of(study), Claim(batch)))
    assert list(CheckPair.objects.values()) == before


def test_too_few_prompts_are_said_before_anything_runs() -> None:
    study = make_draft(attention_checks=6)
    with pytest.raises(
        stages.PreparationError, match="need 14 prompts outside the final subset, and 24 prompts leave 12"
    ):
        stages.prepare(study)


def test_a_study_without_checks_has_no_batch_for_them() -> None:
    study = make_ready_study()
    assert stages.DEFINITIONS["checks"].plan(study, stages.configuration_of(study)) == []
