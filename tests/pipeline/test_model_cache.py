"""How a worker loads the image model."""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evenhand.generation.fingerprints import checkpoint_fingerprint
from evenhand.generation.network import is_compiled
from evenhand.metrics.clip import tokenize
from evenhand.studies.pipeline import model_cache, prompt_pool
from tests.helpers.factories import make_prompt_set, small_configuration
from tests.helpers.tiny_clip import swap_two_words, write_clip
from tests.helpers.tiny_models import tiny_pipeline


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    settings.MODEL_DEVICE = "cpu"
    monkeypatch.setitem(os.environ, "TORCHINDUCTOR_CACHE_DIR", "")  # put back afterwards, whatever a test makes of it
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    model_cache.forget_models()
    yield
    model_cache.forget_models()


def test_a_model_stays_loaded(checkpoint: Path) -> None:
    revision = checkpoint_fingerprint(checkpoint)
    first = model_cache.pipeline_of(str(checkpoint), revision, "float32")
    assert model_cache.pipeline_of(str(checkpoint), revision, "float32") is first
    assert not is_compiled(first.unet)
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


class Weights:
    """A stand-in for a model. As many models do, it is in a cycle: only the collector ends it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize(
    ("loader", "uses"),
    [
        ("evenhand.generation.checkpoint.load_pipeline", lambda name: model_cache.pipeline_of(name, "r", "float32")),
        ("evenhand.metrics.clip.load_clip", lambda name: model_cache._clip(name, None, "key", "cpu")),
        ("evenhand.generation.safety.load_safety_screen", lambda name: model_cache._safety_screen(name, "cpu")),
    ],
)
def test_a_model_is_let_go_before_another_is_loaded(
    loader: str, uses: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graphics card may have no room for both, and its memory is given back in between."""
    loaded: list[weakref.ref[Weights]] = []
    in_memory: list[int] = []

    def load(*_arguments: object, **_options: object) -> Weights:
        in_memory.append(sum(each() is not None for each in loaded))
        model = Weights()
        loaded.append(weakref.ref(model))
        return model

    emptied: list[int] = []
    monkeypatch.setattr(loader, load)
    monkeypatch.setattr(model_cache, "checkpoint_fingerprint", lambda _: "r")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(len(loaded)))
    gc.disable()  # so that nothing but the code under test collects
    try:
        for name in ("one", "one", "other", "one"):
            uses(name)
    finally:
        gc.enable()
    assert in_memory == [0, 0, 0]
    assert emptied == [1, 2]


def test_no_model_is_held_where_the_next_one_cannot_be_loaded(checkpoint: Path) -> None:
    """A worker prefers batches of the model that it holds."""
    revision = checkpoint_fingerprint(checkpoint)
    model_cache.pipeline_of(str(checkpoint), revision, "float32")
    assert model_cache.held() == (str(checkpoint), revision, "float32")
    with pytest.raises(ValueError, match="has changed"):
        model_cache.pipeline_of(str(checkpoint), "0" * 64, "float32")
    assert model_cache.held() is None


@pytest.mark.parametrize("own", ["", "elsewhere"])
def test_a_compiled_model_keeps_its_kernels_in_the_installations_folder(
    checkpoint: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    """Unless the environment names another."""
    settings.COMPILE_MODELS = True
    if own:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", own)
    pipeline = model_cache.pipeline_of(str(checkpoint), checkpoint_fingerprint(checkpoint), "float32")
    assert is_compiled(pipeline.unet)  # when first called
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (own or str(settings.COMPILE_CACHE))


def test_a_checkpoint_that_changed_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="has changed since the study was prepared"):
        model_cache.pipeline_of(str(checkpoint), "0" * 64, "float32")


def test_an_encoders_key_follows_what_its_weights_hold(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    configuration = small_configuration(encoder="ViT-B-32", encoder_pretrained=str(weights))
    keys = []
    for content in (None, b"one", b"other", b"one"):
        if content is not None:
            weights.write_bytes(content)
        keys.append(model_cache.encoder_key(configuration))
    assert keys[1] == keys[3]
    assert len(set(keys)) == 3
    assert all(len(key) == 16 for key in keys)


def test_an_encoders_key_follows_every_file_of_its_folder(tmp_path: Path, settings: Any) -> None:
    """The tokenizer's too: with another one, the same weights give a prompt other features."""
    settings.MODEL_ROOTS = [str(tmp_path)]
    folder = write_clip(tmp_path / "clip")
    configuration = small_configuration(encoder=str(folder))
    key = model_cache.encoder_key(configuration)
    (folder / ".cache").write_text("hidden")
    (folder / "more").mkdir()
    assert model_cache.encoder_key(configuration) == key
    swap_two_words(folder)
    other = model_cache.encoder_key(configuration)
    assert other != key
    write_clip(tmp_path / "weights", seed=6)
    shutil.copy(tmp_path / "weights" / "open_clip_model.safetensors", folder)
    assert model_cache.encoder_key(configuration) not in (key, other)


def test_an_encoder_is_loaded_anew_where_its_folder_has_changed(tmp_path: Path, settings: Any) -> None:
    settings.MODEL_ROOTS = [str(tmp_path)]
    folder = write_clip(tmp_path / "clip")
    configuration = small_configuration(encoder=str(folder))
    first = model_cache.clip(configuration)
    assert model_cache.clip(configuration) is first
    swap_two_words(folder)
    second = model_cache.clip(configuration)
    assert not torch.equal(tokenize(first, ["a red circle"]), tokenize(second, ["a red circle"]))


def test_files_of_an_encoder_are_read_once(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights may have gigabytes, and the key is asked for several times in a job."""
    settings.MODEL_ROOTS = [str(tmp_path)]
    configuration = small_configuration(encoder=str(write_clip(tmp_path / "clip")))
    read: list[str] = []
    digest_of = hashlib.file_digest

    def noted(file: Any, name: str) -> Any:
        read.append(file.name)
        return digest_of(file, name)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    keys = {model_cache.encoder_key(configuration) for _ in range(3)}
    assert len(keys) == 1
    assert len(read) == len(set(read)) > 2


@pytest.mark.django_db
def test_one_copy_of_clip_encodes_prompts_and_scores_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ViT-g-14 takes 5.5 GB: a worker that runs the encode and the score stage must hold it once."""
    from evenhand.metrics import clip

    loaded: list[object] = []
    used: list[object] = []

    def load(*arguments: object, **options: object) -> object:
        loaded.append(arguments)
        return object()

    def encode(texts: list[str], model: object, progress: object = None) -> np.ndarray:
        used.append(model)
        return np.zeros((len(texts), 2), np.float32)

    monkeypatch.setattr(clip, "load_clip", load)
    monkeypatch.setattr("evenhand.sampling.encode.encode_prompts", encode)
    configuration, prompts = small_configuration(), make_prompt_set()
    monkeypatch.setattr(prompt_pool.model_cache, "features_folder", lambda: tmp_path)
    prompt_pool.features_of(prompts, configuration)
    assert used == [model_cache.clip(configuration)]
    assert len(loaded) == 1
