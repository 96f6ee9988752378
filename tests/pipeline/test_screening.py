"""Screening: every picture of the pairs gets a verdict once, the admin sees the flags, and no file changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from evenhand.studies.models import Arm, Image, ImageScore, Pair, Prompt, Stage, Study
from evenhand.studies.pipeline import model_cache, screening, stages
from evenhand.studies.pipeline.context import Context
from evenhand.studies.safety_flags import flagged_images, flagged_prompts, was_screened
from evenhand.studies.work.queue import Claim
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.stored import image_path
from tests.helpers.study_page import study_page
from tests.helpers.tiny_checker import tiny_checker

pytestmark = pytest.mark.django_db


def colour_of_prompt(prompt: Prompt, arm: Arm) -> np.ndarray:
    """A 64×64 picture of a prompt's colour, a shade apart in each arm, so that the checker flags some prompts alone."""
    red, green, blue = hashlib.sha256(str(prompt.index).encode()).digest()[:3]
    shade = hashlib.sha256(arm.fingerprint.encode()).digest()[0] % 8
    return np.broadcast_to(np.array([red, green, blue ^ shade], np.uint8), (64, 64, 3)).copy()


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study whose checkpoint has a picky checker."""
    made = make_ready_study(owner=make_admin("ada"), draw=colour_of_prompt)
    tiny_checker(tmp_path)
    monkeypatch.setattr(model_cache, "checkpoint_location", lambda name: str(tmp_path))
    model_cache.forget_models()
    return made


def run(study: Study) -> None:
    configuration = stages.configuration_of(study)
    stage, _ = Stage.objects.get_or_create(study=study, name="screen", defaults={"position": 8})
    for number, (items, size) in enumerate(screening.plan_screening(study, configuration)):
        batch, _ = stage.batches.get_or_create(number=number, defaults={"items": items, "total": size})
        screening.screen(Context(study, configuration, Claim(batch)))


def test_every_picture_of_the_pairs_gets_one_verdict(study: Study) -> None:
    files = {image.sha256: image_path(image.sha256).read_bytes() for image in Image.objects.all()}
    run(study)
    run(study)
    checker = model_cache.safety_screen(stages.configuration_of(study))
    assert checker is not None
    verdicts = ImageScore.objects.filter(metric=f"safety:{checker.name}")
    assert verdicts.count() == 3 * 12  # the baseline and two candidates of twelve prompts
    flags = flagged_images(study)
    assert 0 < len(flags) < verdicts.count()
    assert flags == set(verdicts.filter(value=1).values_list("image", flat=True))
    for sha256, data in files.items():
        assert image_path(sha256).read_bytes() == data


def test_the_admin_sees_what_was_flagged_and_can_list_it(study: Study, client: Client) -> None:
    Stage.objects.create(study=study, name="prompts", position=0)
    run(study)
    flags = flagged_images(study)
    client.force_login(study.owner)
    page = study_page(client, study)
    assert f"would have hidden {len(flags)} of the pairs" in page
    prompts = flagged_prompts(flags)
    assert 0 < len(prompts) <= 12
    assert all(escape(text) in page.split("would have hidden")[1].split("</ul>")[0] for text in prompts[:10])
    assert ("more prompts" in page) == (len(prompts) > 10)
    listed = client.get(reverse("console:pairs", args=[study.pk]) + "?look=flagged")
    rows = [line["pair"] for line in listed.context["lines"]]
    assert 0 < len(rows) < Pair.objects.count()
    assert all({pair.baseline_image_id, pair.candidate_image_id} & flags for pair in rows)


def test_a_checkpoint_without_a_checker_has_no_batch() -> None:
    study = make_ready_study()
    assert screening.plan_screening(study, stages.configuration_of(study)) == []
    assert not was_screened(study)
