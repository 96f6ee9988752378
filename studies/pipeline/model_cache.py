"""Models kept loaded in a worker process, and what names them: checkpoint, revision, encoder.

Every function that needs torch imports it inside.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from evenhand.errors import InputError
from evenhand.studies.configuration import StudyConfiguration

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from evenhand.generation.safety import SafetyScreen
    from evenhand.metrics.clip import ClipModel
    from evenhand.studies.models import Recipe

DEMO = "demo"


def checkpoint_location(name: str) -> str:
    """The folder or hub id that a checkpoint name stands for; ``demo`` is the model that ships."""
    return str(settings.DEMO_CHECKPOINT) if name == DEMO else name


def device() -> str:
    """Where the models run: EVENHAND_DEVICE, else a GPU if there is one."""
    import torch

    return settings.MODEL_DEVICE or ("cuda" if torch.cuda.is_available() else "cpu")


def checkpoint_revision(name: str) -> str:
    """Hash of a local checkpoint's files, or the hub's commit."""
    from evenhand.generation.checkpoint import checkpoint_fingerprint

    return checkpoint_fingerprint(checkpoint_location(name))


@lru_cache(maxsize=1)
def _pipeline(location: str, revision: str, dtype: str, where: str) -> StableDiffusionPipeline:
    import torch

    from evenhand.generation.checkpoint import checkpoint_fingerprint, load_pipeline

    if checkpoint_fingerprint(location) != revision:
        raise InputError(f"the checkpoint {location} has changed since the study was prepared")
    on_gpu = torch.device(where).type == "cuda"
    if settings.COMPILE_MODELS:  # later processes, and other workers with the same folder, find the kernels there
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(settings.COMPILE_CACHE))
    return load_pipeline(
        location,
        device=where,
        dtype=getattr(torch, dtype),
        channels_last=on_gpu,
        compiled=settings.COMPILE_MODELS,
    )


def pipeline(configuration: StudyConfiguration, recipe: Recipe) -> StableDiffusionPipeline:
    """The study's pipeline; refuses a checkpoint that changed since the study was prepared."""
    return pipeline_of(configuration.checkpoint, recipe.revision, recipe.dtype)


def pipeline_of(checkpoint: str, revision: str, dtype: str) -> StableDiffusionPipeline:
    """The pipeline of a checkpoint by name, if it still is of that revision."""
    return _pipeline(checkpoint_location(checkpoint), revision, dtype, device())


@lru_cache(maxsize=1)
def _safety_screen(location: str, where: str) -> SafetyScreen | None:
    from evenhand.generation.safety import load_safety_screen

    return load_safety_screen(location, device=where)


def safety_screen(configuration: StudyConfiguration) -> SafetyScreen | None:
    """The safety checker of the study's checkpoint, if it has one."""
    return _safety_screen(checkpoint_location(configuration.checkpoint), device())


def picture_size(pipeline: StableDiffusionPipeline, configuration: StudyConfiguration) -> tuple[int, int]:
    """Height and width in pixels: the configuration's, else the model's own."""
    own = int(pipeline.unet.config.sample_size) * int(pipeline.vae_scale_factor)
    return configuration.height or own, configuration.width or own


# ------------------------------------------------------------------------------ CLIP


def encoder_name(configuration: StudyConfiguration) -> str:
    """How an encoder is named in records, e.g. ``ViT-g-14/laion2b_s12b_b42k``."""
    return "/".join(part for part in (configuration.encoder, configuration.encoder_pretrained) if part)


def _encoder_location(configuration: StudyConfiguration) -> tuple[str, str | None]:
    if configuration.encoder == DEMO:
        return str(Path(settings.DEMO_CHECKPOINT) / "clip"), None
    return configuration.encoder, configuration.encoder_pretrained or None


def encoder_key(configuration: StudyConfiguration) -> str:
    """A file-name-safe key of the encoder: its name's hash, and its files' where it is a folder."""
    location, pretrained = _encoder_location(configuration)
    digest = hashlib.sha256(f"{location}/{pretrained}".encode())
    folder = Path(location)
    if folder.is_dir():
        for file in sorted(folder.glob("open_clip*")):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    if pretrained and Path(pretrained).is_file():
        with Path(pretrained).open("rb") as weights:
            digest.update(hashlib.file_digest(weights, "sha256").digest())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def _clip(location: str, pretrained: str | None, where: str) -> ClipModel:
    from evenhand.metrics.clip import load_clip

    return load_clip(location, pretrained, device=where)


def clip(configuration: StudyConfiguration) -> ClipModel:
    """The CLIP model that encodes prompts and scores pictures: one copy serves both."""
    return _clip(*_encoder_location(configuration), device())


# ------------------------------------------------------------------------------ files


def features_folder() -> Path:
    """The folder of cached features."""
    folder = Path(settings.FEATURE_CACHE)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
