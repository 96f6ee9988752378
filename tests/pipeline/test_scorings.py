"""Scorings: what is missing is made and scored once; what cannot be computed is refused by name."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from PIL import Image as Pillow

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree
from evenhand.studies.chosen_prompts import pks_of
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import (
    Arm,
    ArmScore,
    Batch,
    Image,
    ImageScore,
    Prompt,
    Scoring,
    ScoringPart,
    Stage,
    Study,
    SubsetPrompt,
)
from evenhand.studies.models.work import WorkItem
from evenhand.studies.pipeline import distances, model_cache, pictures, scorers, scorings
from evenhand.studies.pipeline.context import Context
from evenhand.studies.pipeline.scorings import Request, ScoringError
from evenhand.studies.score_names import NOT_FINITE, ONE_COLOUR
from evenhand.studies.work import queue
from evenhand.studies.work.queue import Claim
from tests.helpers.factories import make_draft, make_ready_study

pytestmark = pytest.mark.django_db


def noisy(prompt: Prompt, arm: Arm) -> np.ndarray:
    """A 64×64 picture of smooth noise, different for each prompt and arm."""
    rng = np.random.default_rng([prompt.index, int(arm.fingerprint[:8], 16)])
    coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(Pillow.fromarray(coarse).resize((64, 64), Pillow.Resampling.BICUBIC))


@pytest.fixture
def study() -> Study:
    made = make_ready_study(draw=noisy)
    assert made.recipe is not None
    made.recipe.revision = model_cache.checkpoint_revision("demo")
    made.recipe.save()
    return made


def work() -> None:
    queue.work_through({ScoringPart: scorings.HANDLER}, scorings.QUEUE)


def scores(metric: str) -> dict[int, float]:
    return dict(ImageScore.objects.filter(metric=metric).values_list("image", "value"))


def test_every_picture_is_scored_once_and_stored_scores_stay(study: Study) -> None:
    kept = Image.objects.filter(arm__isnull=False, recipe=study.recipe).order_by("pk").first()
    assert kept is not None
    ImageScore.objects.create(image=kept, metric="clip:demo", value=0.125)
    scorings.start(study, Request())
    work()
    first = scores("clip:demo")
    in_pairs = Image.objects.filter(prompt__in=study.prompt_set.prompts.filter(index__lt=12), arm__isnull=False)
    assert set(first) == set(in_pairs.values_list("pk", flat=True))
    assert first[kept.pk] == 0.125
    scorings.start(study, Request())
    work()
    assert scores("clip:demo") == first


def test_scores_are_those_of_the_library(study: Study) -> None:
    from evenhand.generation.images import decode_png
    from evenhand.metrics.clip import clip_scores
    from evenhand.studies.drafts import configuration_of
    from tests.helpers.stored import image_path

    scorings.start(study, Request())
    work()
    image = Image.objects.filter(scores__metric="clip:demo").select_related("prompt").order_by("-pk")[0]
    pixels = decode_png(image_path(image.sha256).read_bytes())
    expected = clip_scores([pixels], [image.prompt.text], model_cache.clip(configuration_of(study)))
    assert scores("clip:demo")[image.pk] == pytest.approx(float(expected[0]), rel=1e-6)


def test_a_sweep_makes_its_pictures_with_the_studys_seeds_and_recipe(study: Study) -> None:
    before = Image.objects.count()
    scoring = scorings.start(study, Request(arms=(ClassifierFree(0.0), ClassifierFree(2.0), ClassifierFree(6.0))))
    assert len(scoring.plan["arms"]) == 5  # w = 2 is the study's baseline
    work()
    assert Image.objects.count() == before + 2 * 12
    made = Image.objects.filter(arm__guidance__strength=6.0)
    assert {(image.recipe_id, image.seed - image.prompt.index) for image in made} == {(study.recipe_id, 0)}
    scoring.refresh_from_db()
    assert scoring.evaluations > 0
    assert set(scores("clip:demo")) >= set(made.values_list("pk", flat=True))


def test_distances_to_rendered_scenes_are_those_of_the_library(study: Study) -> None:
    from evenhand.metrics.frechet import frechet_distance

    scoring = scorings.start(study, Request(spaces=("clip",), reference="scenes"))
    work()
    assert scorings.progress_of(scoring).state == "done"
    found = {(row.arm_id, row.metric): row for row in ArmScore.objects.filter(scoring=scoring)}
    arms = {arm for arm, _ in found}
    assert arms == set(scoring.plan["arms"])
    assert {metric for _, metric in found} == {
        "frechet:clip",
        "frechet_infinite:clip",
        "cmmd:clip",
        "cmmd_unbiased:clip",
    }
    folder = model_cache.features_folder() / "pictures"
    features = [np.load(path) for path in sorted(folder.glob("*/image.npy"))]
    assert len(features) == 4  # three arms and the scenes
    values = {row.value for row in found.values() if row.metric == "frechet:clip"}
    oracle = {frechet_distance(one, other) for one in features for other in features if one is not other}
    assert all(any(value == pytest.approx(each, rel=1e-5) for each in oracle) for value in values)
    one = found[scoring.plan["arms"][0], "cmmd_unbiased:clip"]
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.value < one.high
    assert one.detail["reference"]["name"] == "rendered scenes"
    assert one.n == 12
    frechet = found[scoring.plan["arms"][0], "frechet:clip"]
    assert any("covariance has a rank of 11 at most" in warning for warning in frechet.detail["warnings"])


def test_parts_wait_for_those_of_earlier_phases(study: Study) -> None:
    scoring = scorings.start(study, Request(spaces=("clip",), reference="scenes"))
    phases = []
    while (item := queue.claim(ScoringPart, scorings.QUEUE)) is not None:
        phases.append(item.phase)
        assert not scoring.parts.filter(phase__lt=item.phase).exclude(state=WorkItem.State.DONE).exists()
        queue.run(item, scorings.HANDLER)
    assert phases == sorted(phases)
    assert set(phases) == {0, 1, 2}


def test_pictures_of_one_colour_are_marked_and_scored() -> None:
    study = make_ready_study()  # its pictures are flat colours
    scorings.start(study, Request())
    work()
    assert set(scores(ONE_COLOUR)) == set(scores("clip:demo"))


def test_a_score_that_is_not_finite_is_marked_and_not_stored(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        scorers, "scorer", lambda _metric, _configuration: ("odd", lambda p, _t: np.full(len(p), np.nan, np.float32))
    )
    scorings.start(study, Request(metrics=("clip",)))
    work()
    assert scores("odd") == {}
    assert len(scores(f"{NOT_FINITE}:odd")) == 36
    scorings.start(study, Request(metrics=("clip",)))
    work()
    assert len(scores(f"{NOT_FINITE}:odd")) == 36


def test_a_failed_part_names_its_error_and_is_tried_again_on_request(study: Study, tmp_path: Path) -> None:
    (tmp_path / "no_picture.txt").write_text("text")
    scoring = scorings.start(study, Request(spaces=("clip",), reference=str(tmp_path)))
    work()
    progress = scorings.progress_of(scoring)
    assert progress.state == "failed"
    assert "holds no picture" in progress.error
    for place in range(12):
        Pillow.fromarray(np.random.default_rng(place).integers(0, 256, (80, 64, 3), np.uint8)).save(
            tmp_path / f"{place}.png"
        )
    assert scorings.retry(scoring) == 1
    work()
    assert scorings.progress_of(scoring).state == "done"


def test_a_crop_makes_another_reference(study: Study, tmp_path: Path) -> None:
    for place in range(12):
        Pillow.fromarray(np.random.default_rng(place).integers(0, 256, (96, 64, 3), np.uint8)).save(
            tmp_path / f"{place}.png"
        )
    keys = []
    for crop in (False, True):
        scoring = scorings.start(study, Request(metrics=(), spaces=("clip",), reference=str(tmp_path), crop=crop))
        work()
        found = ArmScore.objects.get(scoring=scoring, metric="frechet:clip", arm=scoring.plan["arms"][0])
        keys.append(found.detail["reference"]["sha256"])
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (Request(prompts="some"), "prompts must be one of final, first, all, not 'some'"),
        (Request(metrics=("beauty",)), "there is no metric 'beauty'"),
        (Request(metrics=("hps",)), "hps needs a file"),
        (Request(metrics=(f"clip={'x' * 300}",)), "300 characters are too many"),
        (Request(spaces=("vgg",), reference="scenes"), "there is no metric 'vgg'"),
        (Request(spaces=("clip",)), "a distance needs reference pictures"),
        (Request(reference="scenes"), "need a space of features"),
        (
            Request(spaces=("clip", "inception", "clip=/models/other"), reference="scenes"),
            "clip and clip=/models/other are both of the kind clip",
        ),
        (Request(spaces=("clip",), reference="/nowhere/at/all"), "no folder of reference pictures '/nowhere/at/all'"),
        (Request(metrics=()), "name at least one metric"),
        (Request(arms=tuple(ClassifierFree(w / 10) for w in range(41))), "are too many for one scoring"),
    ],
)
def test_what_cannot_be_computed_is_refused_at_once(study: Study, request_: Request, told: str) -> None:
    with pytest.raises(InputError, match=told.replace("(", r"\(")):
        scorings.start(study, request_)
    assert not Scoring.objects.exists()


def test_a_draft_is_refused() -> None:
    with pytest.raises(ScoringError, match="only a prepared study"):
        scorings.start(make_draft(), Request())


def test_prompts_that_are_no_scenes_cannot_be_rendered(study: Study) -> None:
    study.prompt_set.prompts.filter(index=3).update(text="a corgi on a pedestal")
    scoring = scorings.start(study, Request(metrics=(), spaces=("clip",), reference=distances.SCENES))
    work()
    assert "prompt 3 describes no scene" in scorings.progress_of(scoring).error


def test_the_command_scores_and_says_what_failed(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("score_study", study.name, "--sweep", "0", "6")
    assert "done" in capsys.readouterr().out
    with pytest.raises(CommandError, match="no folder of reference"):
        call_command("score_study", study.name, "--spaces", "clip", "--reference", str(tmp_path / "none"))
    with pytest.raises(CommandError, match="is no JSON"):
        call_command("score_study", study.name, "--arm", "{")
    with pytest.raises(CommandError, match="is no JSON"):
        call_command("score_study", study.name, "--arm", "[" * 3000)
    with pytest.raises(CommandError, match="method must be one of"):
        call_command("score_study", study.name, "--arm", '{"method": "magic"}')
    with pytest.raises(CommandError, match="--go-on"):
        call_command("score_study", study.name, "--metrics", "pickscore=" + str(tmp_path))
    call_command("score_study", study.name, "--workers")
    assert "waiting" in capsys.readouterr().out


def test_the_score_stage_marks_one_coloured_baselines_too() -> None:
    """They have a score when the stage that scores all arms comes, which looks at none that has."""
    study = make_ready_study()  # flat colours
    configuration = configuration_of(study)
    stage = Stage.objects.create(study=study, name="score", position=0)
    lease = {"state": Batch.State.LEASED, "holder": uuid4(), "lease_until": timezone.now()}
    batch = stage.batches.create(number=0, items=pks_of(study, "first"), total=12, **lease)
    pictures.score(Context(study, configuration, Claim(batch)))
    baseline = Image.objects.filter(arm=study.comparisons.all()[0].baseline, prompt__in=batch.items)
    assert set(scores(ONE_COLOUR)) == set(baseline.values_list("pk", flat=True))
    found = scores("clip:demo")
    members = SubsetPrompt.objects.filter(subset=study.subset).values_list("prompt", "clip_score")
    assert dict(members) == {image.prompt_id: found[image.pk] for image in baseline}


def test_a_reference_is_found_from_any_folder(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    monkeypatch.chdir(tmp_path)
    scoring = scorings.start(study, Request(spaces=("clip",), reference="real"))
    assert scoring.plan["reference"] == str((tmp_path / "real").resolve())
