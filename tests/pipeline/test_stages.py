"""The whole preparation in one process: order, counts, running again, cheap failures first."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings as django_settings
from PIL import Image as PillowImage

from evenhand.generation.guidance import ClassifierFree, SegmentationFree
from evenhand.sampling.prompts import prompts_sha256
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Batch, Comparison, Image, Pair, Stage, Study, SubsetPrompt
from evenhand.studies.pipeline import model_cache, pictures, stages
from tests.helpers.factories import make_draft
from tests.helpers.stored import image_path
from tests.helpers.tiny_models import tiny_xl_pipeline

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def prepared(django_db_setup: None, django_db_blocker: object, tmp_path_factory: pytest.TempPathFactory) -> object:
    """One study prepared by the real stages; its tests only read, or undo what they change."""
    from django.conf import settings

    folder = tmp_path_factory.mktemp("prepared-images")
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        before, settings.MEDIA_ROOT = settings.MEDIA_ROOT, folder
        study = make_draft(name="Prepared")
        stages.prepare(study)
        stages.work_through()
        study.refresh_from_db()
        yield study, folder
        settings.MEDIA_ROOT = before
        _remove(study)


def _remove(study: Study) -> None:
    Pair.objects.filter(comparison__study=study).delete()
    subset, recipe, owner = study.subset, study.recipe, study.owner
    Study.objects.filter(pk=study.pk).update(subset=None, recipe=None, state="draft", current_version=None)
    prompt_set = study.prompt_set
    study.delete()
    if subset:
        subset.delete()
    Image.objects.filter(recipe=recipe).delete()
    if recipe:
        recipe.delete()
    prompt_set.prompts.all().delete()
    prompt_set.delete()
    owner.delete()


@pytest.fixture
def study(prepared: tuple[Study, object], settings: object) -> Study:
    settings.MEDIA_ROOT = prepared[1]  # type: ignore[attr-defined]
    return Study.objects.get(pk=prepared[0].pk)


def test_every_stage_is_done_in_order(study: Study) -> None:
    assert study.state == Study.State.READY
    rows = list(study.stages.order_by("position"))
    assert [row.name for row in rows] == list(stages.DEFINITIONS)
    assert {row.state for row in rows} == {Stage.State.DONE}
    assert all(row.done == row.total for row in rows)


def test_network_evaluations_equal_the_formula(study: Study) -> None:
    # steps 4, t_s = 2: a baseline costs 2T = 8; two arms beside it cost 2·t_s + (1+K) + 2K(T−t_s−1) = 4+3+4 = 11.
    made = dict(study.stages.values_list("name", "evaluations"))
    assert made["baseline"] == 24 * 8
    assert made["arms"] == 12 * 11


def test_the_baseline_is_made_once(study: Study) -> None:
    comparison = Comparison.objects.filter(study=study).first()
    assert comparison is not None
    assert Image.objects.filter(arm=comparison.baseline, recipe=study.recipe).count() == 24
    assert Image.objects.filter(recipe=study.recipe).count() == 24 + 2 * 12


def test_strata_hold_high_middle_and_low_scores(study: Study) -> None:
    members = SubsetPrompt.objects.filter(subset=study.subset)
    mean = {
        name: np.mean(list(members.filter(stratum=name).values_list("clip_score", flat=True)))
        for name in ("high", "middle", "low")
    }
    assert mean["high"] > mean["middle"] > mean["low"]
    assert members.filter(stratum="high").count() == 4


def test_pairs_have_the_same_seed_and_prompt_on_both_sides(study: Study) -> None:
    pairs = list(Pair.objects.filter(comparison__study=study).select_related("baseline_image", "candidate_image"))
    assert len(pairs) == 24
    for pair in pairs:
        assert pair.baseline_image.seed == pair.candidate_image.seed
        assert pair.baseline_image.prompt_id == pair.candidate_image.prompt_id == pair.prompt_id
        assert pair.baseline_image.sha256 != pair.candidate_image.sha256
        assert image_path(pair.candidate_image.sha256).exists()


def test_pairs_that_are_written_in_parts_are_the_same(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def written() -> list[tuple[object, ...]]:
        pairs = Pair.objects.filter(comparison__study=study).order_by("pk")
        return list(pairs.values_list("comparison", "prompt", "stratum", "baseline_image", "candidate_image"))

    before = written()
    Pair.objects.filter(comparison__study=study).delete()
    monkeypatch.setattr(pictures, "PAIRS_WRITTEN", 5)  # 12 prompts: two whole parts and a rest, for each comparison
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    Stage.objects.filter(study=study, name="pairs").update(state=Stage.State.WAITING, done=0)
    Batch.objects.filter(stage__study=study, stage__name="pairs").delete()
    study.refresh_from_db()
    stages.advance(study)
    stages.work_through()
    assert written() == before
    assert len(before) == 24


def test_running_a_stage_again_makes_nothing_new(study: Study) -> None:
    before = dict(study.stages.values_list("name", "evaluations"))
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    Stage.objects.filter(study=study).update(state=Stage.State.WAITING, done=0)
    Batch.objects.filter(stage__study=study).delete()
    study.refresh_from_db()
    stages.advance(study)
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY
    assert dict(study.stages.values_list("name", "evaluations")) == before


def test_a_lost_file_is_made_again_with_the_same_bytes(study: Study) -> None:
    pair = Pair.objects.filter(comparison__study=study).select_related("candidate_image").first()
    assert pair is not None
    path = image_path(pair.candidate_image.sha256)
    data = path.read_bytes()
    path.unlink()
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    Stage.objects.filter(study=study, name__in=("arms", "pairs")).update(state=Stage.State.WAITING, done=0)
    Batch.objects.filter(stage__study=study).delete()
    study.refresh_from_db()
    stages.advance(study)
    stages.work_through()
    assert path.read_bytes() == data


@pytest.mark.parametrize("state", [Stage.State.RUNNING, Stage.State.WAITING])
def test_a_preparation_goes_on_after_its_worker_ended_between_two_stages(study: Study, state: str) -> None:
    """The worker ended after its last batch, before the stage was completed, or before the next one was planned."""
    stage = study.stages.get(name="pairs")
    if state == Stage.State.WAITING:
        stage.batches.all().delete()
    study.stages.filter(pk=stage.pk).update(state=state)
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    assert stages.idle_queues() == {"cpu"}
    stages.advance_idle()
    assert stages.idle_queues() == set()
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY
    stage.refresh_from_db()
    assert (stage.state, stage.done) == (Stage.State.DONE, stage.total)


def test_only_a_draft_is_prepared(study: Study) -> None:
    with pytest.raises(stages.PreparationError, match="only a draft"):
        stages.prepare(study)


def test_a_subset_larger_than_the_set_is_refused() -> None:
    with pytest.raises(stages.PreparationError, match=r"61 prompts are asked for, .* has 60"):
        stages.prepare(make_draft(subset_size=61))


@pytest.mark.parametrize("deduplicate", ["exact", "near"])
def test_repeated_prompts_that_are_left_out_are_not_counted(deduplicate: str) -> None:
    draft = make_draft(subset_size=59, deduplicate=deduplicate)
    first, *others = draft.prompt_set.prompts.order_by("index")
    draft.prompt_set.prompts.filter(pk__in=[prompt.pk for prompt in others[:2]]).update(text=first.text)
    with pytest.raises(stages.PreparationError, match=r"59 prompts are asked for, .* has 58 different ones"):
        stages.prepare(draft)


def test_a_subset_too_small_for_its_strata_is_refused() -> None:
    study = make_draft(subset_size=12)
    with pytest.raises(stages.PreparationError, match="need a first subset of at least"):
        stages.prepare(study)
    study.refresh_from_db()
    assert study.state == Study.State.DRAFT


def test_a_folder_that_is_no_checkpoint_stops_the_first_stage(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model here")
    study = make_draft(checkpoint=str(tmp_path))
    stages.prepare(study)
    stages.work_through()
    stage = study.stages.get(name="prompts")
    assert stage.state == Stage.State.FAILED
    assert str(tmp_path) in stage.error
    assert "model_index.json" in stage.error


@pytest.mark.parametrize("negative", [False, True])
def test_a_prompt_that_the_model_would_not_see_whole_stops_the_first_stage(negative: bool) -> None:
    long = " ".join(["red"] * 75 + ["star"])
    study = make_draft(baseline=ClassifierFree(2.0, long if negative else ""))
    if not negative:
        prompts = study.prompt_set.prompts.order_by("index")
        prompts.filter(index=5).update(text=long)
        study.prompt_set.sha256 = prompts_sha256(prompts.values_list("text", flat=True))
        study.prompt_set.save()
    stages.prepare(study)
    stages.work_through()
    stage = study.stages.get(name="prompts")
    assert stage.state == Stage.State.FAILED
    name = "negative prompt 1" if negative else "prompt 5"  # of the negative ones the empty text comes first
    assert f"{name} would lose 'star'" in stage.error


def test_pictures_that_are_not_finite_stop_the_study_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """No prompt can be drawn: after three of them the stage stops. No row and no file; the message says why."""
    study = make_draft(name="Overflowing")
    stages.prepare(study)
    configuration = configuration_of(study)
    revision = model_cache.checkpoint_revision(configuration.checkpoint)
    overflowing = copy.deepcopy(model_cache.pipeline_of(configuration.checkpoint, revision, configuration.dtype))
    overflowing.vae.decoder.conv_out.bias.data[0] = float("inf")
    monkeypatch.setattr(model_cache, "pipeline_of", lambda *_: overflowing)
    stages.work_through()
    failed = Batch.objects.filter(stage__study=study, state=Batch.State.FAILED)
    assert {(each.stage.name, each.stage.state, each.total) for each in failed} == {("baseline", "failed", 1)}
    assert failed.count() == 3
    for each in failed:
        assert each.error.startswith(f"{configuration.baseline.label()}: the picture of “")
        assert "is not finite once the VAE has decoded it" in each.error
    assert not Image.objects.filter(prompt__prompt_set=study.prompt_set).exists()
    assert not [path for path in Path(django_settings.MEDIA_ROOT).rglob("*") if path.is_file()]


@pytest.fixture
def xl_checkpoint(tmp_path: Path) -> str:
    tiny_xl_pipeline().save_pretrained(tmp_path / "xl")
    return str(tmp_path / "xl")


def set_prompts(study: Study, texts: list[str]) -> None:
    prompts = list(study.prompt_set.prompts.order_by("index"))
    for prompt, text in zip(prompts, texts, strict=True):
        prompt.text = text
        prompt.save()
    study.prompt_set.sha256 = prompts_sha256(texts)
    study.prompt_set.save()


WORDS = [f"a {colour} {thing}" for colour in ("red", "blue", "green") for thing in ("circle", "square", "star", "cat")]


def test_a_study_of_stable_diffusion_xl_is_prepared(xl_checkpoint: str) -> None:
    study = make_draft(checkpoint=xl_checkpoint, steps=2, scheduler="euler", subset_size=12, per_stratum=1)
    set_prompts(study, [f"{WORDS[i % 12]} and {WORDS[i // 12]}" for i in range(study.prompt_set.count)])
    stages.prepare(study)
    stages.work_through()
    study.refresh_from_db()
    model_cache.forget_models()
    assert study.state == Study.State.READY, [stage.error for stage in study.stages.all()]
    assert study.recipe is not None
    assert (study.recipe.height, study.recipe.width) == (16, 16)
    images = list(Image.objects.filter(recipe=study.recipe))
    assert len(images) == 12 + 2 * 3
    assert {image.provenance["empty_prompt"] for image in images} == {"zeros"}
    assert {image.provenance["vae_dtype"] for image in images} == {"float32"}
    assert Pair.objects.filter(comparison__study=study).count() == 2 * 3


def test_a_prompt_whose_own_tokens_are_unclear_stops_the_first_stage(xl_checkpoint: str) -> None:
    """Where an arm asks for them."""
    study = make_draft(checkpoint=xl_checkpoint, candidates=(SegmentationFree(5.0, tokens="prompt"),))
    set_prompts(study, ["a dog!!", *["a cat"] * (study.prompt_set.count - 1)])
    stages.prepare(study)
    stages.work_through()
    model_cache.forget_models()
    stage = study.stages.get(name="prompts")
    assert stage.state == Stage.State.FAILED
    assert "tokenizer and tokenizer_2 divide a prompt into different tokens" in stage.error
    assert "prompt 0 'a dog!!'" in stage.error


def test_every_pair_is_compared(study: Study) -> None:
    stage = study.stages.get(name="differences")
    pairs = Pair.objects.filter(comparison__study=study)
    assert (stage.state, stage.total) == (Stage.State.DONE, pairs.count())
    for pair in pairs.select_related("baseline_image", "candidate_image"):
        first, second = (
            np.asarray(PillowImage.open(image_path(image.sha256)), np.int16)
            for image in (pair.baseline_image, pair.candidate_image)
        )
        assert pair.largest_difference == np.abs(first - second).max()
