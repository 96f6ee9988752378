"""Keep models loaded in a worker process, and name them: checkpoint, revision, encoder.

Functions that need torch import it inside, because the web process imports this module without it.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, TypeVarTuple

from django.conf import settings

from evenhand.errors import InputError
from evenhand.generation.fingerprints import checkpoint_fingerprint
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.model_roots import DEMO, check_model

if TYPE_CHECKING:
    from evenhand.generation.kinds.registry import Pipeline
    from evenhand.generation.safety import SafetyScreen
    from evenhand.metrics.clip import ClipModel

Model = TypeVar("Model")
Key = TypeVarTuple("Key")

_held: tuple[str, str, str] | None = None  # what ``_pipeline`` has in memory


class OneModel(Generic[Model, *Key]):
    """A function that loads a model, with the model of its last arguments kept.

    That one is let go before another is loaded: a graphics card may have no room for both.
    """

    def __init__(self, load: Callable[[*Key], Model]) -> None:
        self._load = load
        self._last: tuple[tuple[*Key], Model] | None = None

    def __call__(self, *key: *Key) -> Model:
        """Return the model of ``key``, loaded where it is not the last one."""
        if self._last is None or self._last[0] != key:
            self.forget()
            self._last = key, self._load(*key)
        return self._last[1]

    def forget(self) -> None:
        """Let go of the model."""
        if self._last is not None:
            self._last = None
            _free_memory()


def _free_memory() -> None:
    """Collect what only cycles hold, such as models, and give a graphics card's memory back."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def checkpoint_location(name: str) -> str:
    """Return the folder or hub id of a checkpoint's name; ``demo`` is the model that ships."""
    return str(settings.DEMO_CHECKPOINT) if name == DEMO else name


def device() -> str:
    """Return where the models run: EVENHAND_DEVICE, else a GPU if there is one."""
    import torch

    return settings.MODEL_DEVICE or ("cuda" if torch.cuda.is_available() else "cpu")


def checkpoint_revision(name: str) -> str:
    """Return the hash of a local checkpoint's files, or the hub's commit."""
    return checkpoint_fingerprint(checkpoint_location(name))


@OneModel
def _pipeline(location: str, revision: str, dtype: str, device: str) -> Pipeline:
    import torch

    from evenhand.generation.checkpoint import load_pipeline

    if checkpoint_fingerprint(location) != revision:
        raise InputError(f"the checkpoint {location} has changed since the study was prepared")
    on_gpu = torch.device(device).type == "cuda"
    if settings.COMPILE_MODELS:  # a folder that later processes and other workers share, so that they need not compile
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.COMPILE_CACHE))
    return load_pipeline(
        location,
        device=device,
        dtype=getattr(torch, dtype),
        channels_last=on_gpu and settings.COMPILE_MODELS,  # uncompiled, an H100 takes a tenth longer with it
        compiled=settings.COMPILE_MODELS,
        safetensors_only=not settings.MODEL_PICKLES,
    )


def pipeline_of(checkpoint: str, revision: str, dtype: str) -> Pipeline:
    """Return the pipeline of a checkpoint by name; ``InputError`` where it has another revision."""
    global _held
    asked = checkpoint, revision, dtype
    if asked != _held:
        _held = None  # the other one is gone, even if this one cannot be loaded
    pipeline = _pipeline(checkpoint_location(checkpoint), revision, dtype, device())
    _held = asked
    return pipeline


def held() -> tuple[str, str, str] | None:
    """Return checkpoint, revision and dtype of the pipeline in this process's memory; None where there is none."""
    return _held


@OneModel
def _safety_screen(location: str, device: str) -> SafetyScreen | None:
    from evenhand.generation.safety import load_safety_screen

    return load_safety_screen(location, device=device, safetensors_only=not settings.MODEL_PICKLES)


def safety_screen(configuration: StudyConfiguration) -> SafetyScreen | None:
    """Return the safety checker of the study's checkpoint, if it has one."""
    return _safety_screen(checkpoint_location(configuration.checkpoint), device())


def image_size(pipeline: Pipeline, configuration: StudyConfiguration) -> tuple[int, int]:
    """Return height and width in pixels: the configuration's, else the model's own."""
    side = int(pipeline.unet.config.sample_size) * int(pipeline.vae_scale_factor)
    return configuration.height or side, configuration.width or side


# ------------------------------------------------------------------------------ CLIP


def _encoder_location(configuration: StudyConfiguration) -> tuple[str, str | None]:
    if configuration.encoder == DEMO:
        return str(Path(settings.DEMO_CHECKPOINT) / "clip"), None
    for name in (configuration.encoder, configuration.encoder_pretrained):
        check_model(name)
    return configuration.encoder, configuration.encoder_pretrained or None


def encoder_key(configuration: StudyConfiguration) -> str:
    """Return a key of the encoder for file names: a hash of its name and of its local files, the tokenizer's too."""
    location, pretrained = _encoder_location(configuration)
    digest = hashlib.sha256(f"{location}/{pretrained}".encode())
    folder = Path(location)
    if folder.is_dir():
        for file in sorted(folder.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                digest.update(file.name.encode() + _file_digest(file))
    if pretrained and Path(pretrained).is_file():
        digest.update(_file_digest(Path(pretrained)))
    return digest.hexdigest()[:16]


def _file_digest(path: Path) -> bytes:
    """Return a file's SHA-256. Weights of gigabytes are read once, as long as the file system tells of no change."""
    found = path.stat()
    return _digest_of(path, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=64)
def _digest_of(path: Path, _as_found: tuple[int, ...]) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@OneModel
def _clip(location: str, pretrained: str | None, _key: str, device: str) -> ClipModel:
    from evenhand.metrics.clip import load_clip

    return load_clip(location, pretrained, device=device)


def clip(configuration: StudyConfiguration) -> ClipModel:
    """Return the CLIP model; the same copy encodes prompts and scores images. It is loaded anew when its key changes.

    A copy that is older than its files would be stored under the key of the newer ones.
    """
    return _clip(*_encoder_location(configuration), encoder_key(configuration), device())


# ------------------------------------------------------------------------------ files


def features_folder() -> Path:
    """Return the folder of cached features; make it where it does not exist."""
    folder = Path(settings.FEATURE_CACHE)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def forget_models() -> None:
    """Let go of every model, so that the next use loads it again."""
    global _held
    _held = None
    for forget in (_pipeline.forget, _safety_screen.forget, _clip.forget, _digest_of.cache_clear):
        forget()
