"""An arm that another checkpoint draws: its own recipe, the same prompts, seeds and size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image as PillowImage

from evenhand.generation.guidance import (
    ClassifierFree,
    GuidanceError,
    OtherCheckpoint,
    SegmentationFree,
    Uploaded,
    fingerprint,
    from_dict,
)
from evenhand.generation.methods.strength_matched import StrengthMatched
from evenhand.generation.trajectory import generate
from evenhand.studies.arm_recipes import arms_by_part, made_for
from evenhand.studies.bundle.replicating import replicate
from evenhand.studies.bundle.verify_bundle import verify_path
from evenhand.studies.bundle.writing import export
from evenhand.studies.chosen_prompts import seed_of
from evenhand.studies.configuration import ConfigurationError
from evenhand.studies.console.candidate_fields import others_text, read_others
from evenhand.studies.drafts import configuration_of
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import Batch, Image, Pair, Study
from evenhand.studies.pipeline import model_cache, stages
from evenhand.studies.pipeline.remaking import remake
from evenhand.studies.results.report import study_report
from evenhand.studies.undo import return_to_draft
from tests.helpers.factories import make_draft
from tests.helpers.ratings import always, invite, rate_booklet
from tests.helpers.short_prompts import shorten_prompts
from tests.helpers.stored import image_path
from tests.helpers.tiny_models import tiny_pipeline, tiny_xl_pipeline

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Prepared: a tiny checkpoint's baseline and candidate, and a candidate of a tiny XL with other steps."""
    tiny_pipeline().save_pretrained(tmp_path / "tiny")
    tiny_xl_pipeline().save_pretrained(tmp_path / "xl")
    other = OtherCheckpoint(ClassifierFree(3.0), str(tmp_path / "xl"), scheduler="euler", steps=3)
    study = make_draft(
        checkpoint=str(tmp_path / "tiny"),
        steps=2,
        subset_size=12,
        per_stratum=1,
        baseline=ClassifierFree(2.0),
        candidates=(SegmentationFree(5.0, opening=ClassifierFree(2.0)), other),
        comparisons=((0, 1), (0, 2), (1, 2)),
    )
    shorten_prompts(study)
    stages.prepare(study)
    stages.work_through()
    study.refresh_from_db()
    model_cache.forget_models()
    return study


def test_each_arm_is_drawn_by_its_own_recipe(study: Study, client: Client) -> None:
    assert study.state == Study.State.READY, [stage.error for stage in study.stages.all()]
    other = study.arm_recipes.select_related("arm", "recipe").get()
    assert (other.recipe.scheduler, other.recipe.steps, other.recipe.checkpoint[-3:]) == ("euler", 3, "/xl")
    assert study.recipe is not None
    assert (other.recipe.height, other.recipe.width) == (study.recipe.height, study.recipe.width)
    images = Image.objects.filter(arm=other.arm)
    assert {image.recipe_id for image in images} == {other.recipe_id}
    assert images.count() == 3
    assert Pair.objects.filter(comparison__study=study).count() == 3 * 3

    configuration = configuration_of(study)
    image = images.select_related("prompt")[0]
    seed = seed_of(image.prompt, configuration)
    made = generate(
        tiny_xl_pipeline(), [image.prompt.text], [seed], {"arm": ClassifierFree(3.0)}, steps=3, scheduler="euler",
        batch_size=configuration.batch_size,
    )  # fmt: skip
    stored = image_path(image.sha256)
    assert np.array_equal(np.asarray(PillowImage.open(stored)), made.images["arm"][0])
    assert remake(image.provenance).data == stored.read_bytes()

    counted = sum(stage.evaluations for stage in study.stages.filter(name="arms"))
    assert counted == 3 * (2 * 2 + 2 * 3)  # two iterations of segmentation-free guidance, three of the other arm
    client.force_login(study.owner)
    stored_arm = from_dict(other.arm.guidance)
    assert isinstance(stored_arm, OtherCheckpoint)
    assert stored_arm.without_folders().checkpoint == "xl"
    assert "/" not in other.arm.label  # labels stand in files that leave this machine
    for name in ("study", "pairs", "objective", "versions"):
        assert client.get(reverse(f"console:{name}", args=[study.pk])).status_code == 200


def test_pictures_of_another_study_are_not_taken_for_its_own(study: Study) -> None:
    """The baseline's guidance under the other checkpoint is another study's picture of the same prompt and seed."""
    other = study.arm_recipes.get()
    own = Image.objects.filter(made_for(study))
    count, baseline = own.count(), study.comparisons.order_by("position")[0].baseline
    mine = own.filter(arm=baseline).first()
    assert mine is not None
    mine.pk, mine.recipe = None, other.recipe
    mine.save()
    assert own.count() == count


def test_a_bundle_of_it_is_verified_and_replicated(study: Study, tmp_path: Path) -> None:
    open_study(study, accept_odd_pairs=True)
    rate_booklet(invite(study, "Grace"), always(1))
    close_study(study)
    export(study, tmp_path / "bundle")
    assert not verify_path(tmp_path / "bundle").problems
    again = replicate(tmp_path / "bundle", name="Again", owner=study.owner)
    labels = [each["candidate_name"] for each in study_report(study)["comparisons"]]
    assert [each["candidate_name"] for each in study_report(again)["comparisons"]] == labels
    pairs = Pair.objects.filter(comparison__study=again)
    assert pairs.count() == 3 * 3
    arm = study.arm_recipes.get().arm
    assert Image.objects.filter(made_for(again), arm=arm, prompt__prompt_set=again.prompt_set).count() == 3


def test_a_study_returns_to_its_draft(study: Study) -> None:
    return_to_draft(study)
    assert not study.arm_recipes.exists()


def test_a_plan_says_what_is_wrong(study: Study) -> None:
    configuration = configuration_of(study)
    other = configuration.candidates[1]
    assert isinstance(other, OtherCheckpoint)
    assert [part.steps for part in arms_by_part(configuration)] == [2, 3]
    for wrong, words in (
        (
            {"candidates": (replace(other, checkpoint=configuration.checkpoint, scheduler="", steps=None),)},
            "own recipe",
        ),
        ({"candidates": (replace(other, scheduler="fast"),)}, "'fast' is none of"),
        ({"candidates": (replace(other, guidance=SegmentationFree(5.0, switch_after=9)),)}, "switch_after"),
        ({"baseline": other, "candidates": (ClassifierFree(),)}, "own checkpoint draws the baseline"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            replace(configuration, comparisons=(), **wrong)


def test_it_survives_its_dictionary_and_the_form() -> None:
    other = OtherCheckpoint(SegmentationFree(5.0), "owner/model", dtype="float16")
    assert from_dict(other.to_dict()) == other
    assert fingerprint(other) != fingerprint(OtherCheckpoint(SegmentationFree(5.0), "owner/another", dtype="float16"))
    assert read_others(others_text([other]), ClassifierFree(2.0)) == (other,)
    (short,) = read_others(
        '{"method": "other_checkpoint", "checkpoint": "owner/model", "guidance": {"method": "segmentation_free"}}',
        ClassifierFree(2.0),
    )
    assert isinstance(short, OtherCheckpoint)
    assert short.guidance == SegmentationFree(opening=ClassifierFree(2.0))
    assert "owner/model" in other.label()
    assert other.short_name().endswith("(model)")


@pytest.mark.parametrize(
    ("name", "value"), [("checkpoint", " "), ("checkpoint", "x" * 501), ("dtype", "float8"), ("steps", 0)]
)
def test_wrong_settings_are_refused(name: str, value: Any) -> None:
    with pytest.raises(GuidanceError, match=name):
        replace(OtherCheckpoint(checkpoint="owner/model"), **{name: value})


def test_what_a_checkpoint_does_not_draw_stands_in_no_method() -> None:
    for inside in (OtherCheckpoint(checkpoint="owner/model"), Uploaded("theirs")):
        with pytest.raises(GuidanceError, match=inside.method):
            StrengthMatched(guidance=inside)
        with pytest.raises(GuidanceError, match=inside.method):
            OtherCheckpoint(guidance=inside, checkpoint="owner/model")


def test_a_worker_prefers_the_batches_that_the_model_in_its_memory_draws(study: Study) -> None:
    other = study.arm_recipes.select_related("recipe").get().recipe
    own = study.recipe
    assert own is not None
    assert stages.suits_the_model_in_memory() is None  # the fixture has let go of both
    named = {batch.pk for batch in Batch.objects.all() if batch.items and isinstance(batch.items[0], dict)}
    assert named
    for recipe in (other, own):
        model_cache.pipeline_of(recipe.checkpoint, recipe.revision, recipe.dtype)
        suits = stages.suits_the_model_in_memory()
        assert suits is not None
        found = set(Batch.objects.filter(suits).values_list("pk", flat=True))
        assert found == (named if recipe == other else set(Batch.objects.values_list("pk", flat=True)) - named)
    model_cache.forget_models()
    assert stages.suits_the_model_in_memory() is None
