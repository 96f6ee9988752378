"""Under which name the scores of a model are stored: none is taken for another model's."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenhand.generation.images import decode_png
from evenhand.metrics.clip import clip_scores, load_clip
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.image_store import image_file
from evenhand.studies.models import Arm, Image, ImageScore, Prompt
from evenhand.studies.pipeline import model_cache, scorers
from evenhand.studies.score_names import in_words
from tests.helpers.factories import make_ready_study, small_configuration
from tests.helpers.tiny_clip import tiny_clip, write_clip

pytestmark = pytest.mark.django_db


def noisy(prompt: Prompt, arm: Arm) -> np.ndarray:
    rng = np.random.default_rng([prompt.index, int(arm.fingerprint[:8], 16)])
    return rng.integers(0, 256, (64, 64, 3), np.uint8)


@pytest.fixture(autouse=True)
def _nothing_loaded(settings: Any, tmp_path: Path) -> None:
    settings.MODEL_DEVICE = "cpu"
    settings.MODEL_ROOTS = [str(tmp_path)]
    forget()


def forget() -> None:
    """Begin as a new worker process does."""
    model_cache.forget_models()
    scorers._loaded.cache_clear()


@pytest.fixture
def configuration() -> StudyConfiguration:
    return configuration_of(make_ready_study(draw=noisy))


@pytest.fixture
def images(configuration: StudyConfiguration) -> list[Image]:
    return list(Image.objects.filter(arm__isnull=False).select_related("prompt").order_by("pk")[:2])


def stored(name: str) -> list[float]:
    return list(ImageScore.objects.filter(metric=name).order_by("image").values_list("value", flat=True))


def library(images: list[Image], folder: Path) -> list[float]:
    pixels = [decode_png(image_file(image.sha256).read_bytes()) for image in images]
    return clip_scores(pixels, [image.prompt.text for image in images], load_clip(str(folder))).tolist()


def test_two_folders_of_one_name_have_scores_of_their_own(
    tmp_path: Path, configuration: StudyConfiguration, images: list[Image]
) -> None:
    ImageScore.objects.create(image=images[0], metric="clip:clip", value=0.5)  # as names were before
    names = []
    for seed, parent in enumerate(("one", "two")):
        (tmp_path / parent).mkdir()
        folder = write_clip(tmp_path / parent / "clip", seed=seed)
        names += scorers.score_images(images, (f"clip={folder}",), configuration)
        assert stored(names[-1]) == pytest.approx(library(images, folder), rel=1e-6)
    assert names[0] != names[1]
    assert all(name.startswith("clip:clip@") and len(name) == len("clip:clip@01234567") for name in names)
    assert in_words(names[0]).title == f"CLIP score ({names[0].removeprefix('clip:')})"
    assert stored("clip:clip") == [0.5]


def test_an_encoder_whose_weights_were_replaced_scores_anew(
    tmp_path: Path, configuration: StudyConfiguration, images: list[Image]
) -> None:
    folder = tmp_path / "encoder"
    configuration = replace(configuration, encoder=str(folder))
    write_clip(folder, seed=1)
    (first,) = scorers.score_images(images, ("clip",), configuration)
    shutil.rmtree(folder)
    write_clip(folder, seed=2)
    forget()
    (second,) = scorers.score_images(images, ("clip",), configuration)
    assert second != first
    assert stored(second) == pytest.approx(library(images, folder), rel=1e-6)
    assert len(stored(first)) == len(images)


def test_a_folder_is_named_alike_as_the_encoder_and_as_a_metric(tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "clip")
    by_encoder = scorers.scorer("clip", small_configuration(encoder=str(folder)))[0]
    assert scorers.scorer(f"clip={folder}", small_configuration())[0] == by_encoder


def test_what_ships_and_what_has_a_tag_keep_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = tiny_clip(tmp_path / "clip")
    tagged = replace(local, name="ViT-g-14", pretrained="laion2b_s12b_b42k", is_local=False)
    monkeypatch.setattr("evenhand.metrics.clip.load_clip", lambda *_, **__: tagged)
    configuration = small_configuration(encoder="ViT-g-14", encoder_pretrained="laion2b_s12b_b42k")
    for metric in ("clip", "clip=ViT-g-14,laion2b_s12b_b42k"):
        assert scorers.scorer(metric, configuration)[0] == "clip:ViT-g-14/laion2b_s12b_b42k"
    forget()
    monkeypatch.setattr("evenhand.metrics.clip.load_clip", lambda *_, **__: local)
    assert scorers.scorer("clip", small_configuration())[0] == "clip:demo"


def test_a_file_of_weights_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = replace(tiny_clip(tmp_path / "clip"), name="ViT-H-14", pretrained="/models/hps.safetensors")
    monkeypatch.setattr("evenhand.metrics.clip.load_clip", lambda *_, **__: weights)
    name = scorers.scorer("hps=hps.safetensors", small_configuration())[0]
    assert name == f"hps:ViT-H-14/hps.safetensors@{weights.fingerprint[:8]}"
