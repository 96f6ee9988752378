"""Load CLIP models and compute CLIP scores: cosines of pictures and prompts (method §3.1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image

from evenhand.errors import InputError, is_machine_fault
from evenhand.metrics.fingerprints import marked, settings_of_folder, text_fingerprint, weights_fingerprint
from evenhand.metrics.pictures import Pixels

SCORE_MODEL, SCORE_TAG = "ViT-g-14", "laion2b_s12b_b42k"  # of the paper's CLIP score (§5.2, open_clip)


class ClipError(InputError):
    """A CLIP model cannot be loaded; the message names it."""


@dataclass(frozen=True)
class ClipModel:
    """A loaded model with its tokenizer and its own validation transform.

    configuration: JSON of what open_clip built the model and the transform from. is_local: whether it was loaded from a
    folder or a file of weights. folder_settings: of a folder, as ``fingerprints.settings_of_folder`` returns them.
    """

    name: str
    model: Any
    tokenizer: Callable[[list[str]], torch.Tensor]
    transform: Callable[[Image.Image], torch.Tensor]
    device: torch.device
    pretrained: str | None = None
    configuration: str = ""
    is_local: bool = False
    folder_settings: str = ""

    @property
    def title(self) -> str:
        """Model and pretrained tag; a local folder or file by its name."""
        parts = [Path(part).name for part in (self.name, self.pretrained) if part]
        return "/".join(parts)

    @property
    def label(self) -> str:
        """What records call the model: its title; a local one's with digits of its fingerprint, for names repeat."""
        return marked(self.title, self.fingerprint) if self.is_local else self.title

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 over the weights, and over what else a folder holds."""
        return weights_fingerprint(self.model.state_dict(), self.folder_settings)


def load_clip(name: str, pretrained: str | None = None, *, device: str = "cpu") -> ClipModel:
    """Load an open_clip model by name and pretrained tag or file of weights, or from a folder.

    A folder holds ``open_clip_config.json``, ``open_clip_model.safetensors`` and the tokenizer's files. Nothing is
    downloaded for a folder; a name with a tag asks open_clip's own cache or hub. Raises ``ClipError``.
    """
    folder = Path(name)
    if folder.is_dir():
        missing_files = [
            f for f in ("open_clip_config.json", "open_clip_model.safetensors") if not (folder / f).is_file()
        ]
        if missing_files:
            raise ClipError(f"{folder} is no open_clip folder: {', '.join(missing_files)} is missing")
        identifier, tag = f"local-dir:{folder}", None
    else:
        if name not in open_clip.list_models():
            raise ClipError(f"there is neither a folder nor an open_clip model named {name!r}")
        if pretrained and not Path(pretrained).is_file() and (name, pretrained) not in open_clip.list_pretrained():
            raise ClipError(
                f"{name} has no pretrained tag {pretrained!r}, nor is that a file; its tags are {_tags(name)}"
            )
        if not pretrained:  # open_clip would silently use random weights
            raise ClipError(f"{name} needs a pretrained tag; its tags are {_tags(name)}")
        _check_activation(name, pretrained)
        identifier, tag = name, pretrained
    try:
        model, _, transform = open_clip.create_model_and_transforms(
            identifier, pretrained=tag, device=device, precision="fp32"
        )
        tokenizer = open_clip.get_tokenizer(identifier)
        settings = [open_clip.get_model_config(identifier), open_clip.get_model_preprocess_cfg(model)]
    except Exception as error:  # open_clip passes on any error of its hub client, torch or json
        if is_machine_fault(error):
            raise
        weights = f" with {pretrained!r}" if pretrained else ""
        raise ClipError(f"the CLIP model {name!r}{weights} cannot be loaded: {error}") from error
    return ClipModel(
        name,
        model.eval(),
        tokenizer,
        transform,
        torch.device(device),
        tag,
        configuration=json.dumps(settings, sort_keys=True),
        is_local=tag is None or (name, tag) not in open_clip.list_pretrained(),
        folder_settings=settings_of_folder(folder) if tag is None else "",
    )


def _check_activation(name: str, tag: str) -> None:
    """Refuse weights that were trained with QuickGELU in a model that would run them with GELU.

    open_clip warns and goes on. The other way round is no error: the entry of roberta-ViT-B-32, the only such one,
    leaves out what its model's own configuration says.
    """
    wanted = open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)
    if not wanted or open_clip.get_model_config(name).get("quick_gelu", False):
        return
    other = f"{name}-quickgelu"
    advice = f"; choose {other}" if (other, tag) in open_clip.list_pretrained() else ""
    raise ClipError(f"the weights {tag!r} were trained with QuickGELU, which {name} does not compute{advice}")


def _tags(name: str) -> str:
    return ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"


def tokenize(clip: ClipModel, texts: Sequence[str]) -> torch.Tensor:
    """Convert texts to token ids, int64 (N, context length)."""
    return torch.as_tensor(clip.tokenizer(list(texts))).long()


@torch.inference_mode()
def clip_scores(
    images: Sequence[NDArray[np.uint8]], texts: Sequence[str], clip: ClipModel, batch_size: int = 32
) -> NDArray[np.float32]:
    """Compute the cosine of each uint8 (H, W, 3) image with its text, float32 (N,), not scaled by 100.

    Every call has ``batch_size`` rows (the last is padded), so that a score does not depend on the other rows.
    """
    if len(images) != len(texts):
        raise InputError(f"{len(images)} images but {len(texts)} texts")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    for index, image in enumerate(images):
        _check_picture(index, image)
    scores = []
    for start in range(0, len(images), batch_size):
        batch_images = [clip.transform(Image.fromarray(np.asarray(i))) for i in images[start : start + batch_size]]
        batch_texts = list(texts[start : start + batch_size])
        count = len(batch_images)
        batch_images += [batch_images[-1]] * (batch_size - count)
        batch_texts += [batch_texts[-1]] * (batch_size - count)
        image_features = clip.model.encode_image(torch.stack(batch_images).to(clip.device), normalize=True)
        text_features = clip.model.encode_text(tokenize(clip, batch_texts).to(clip.device), normalize=True)
        scores.append((image_features * text_features).sum(dim=-1)[:count].float().cpu().numpy())
    return np.concatenate(scores) if scores else np.zeros(0, np.float32)


def _check_picture(index: int, image: NDArray[np.uint8]) -> None:
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise InputError(f"image {index} must be uint8 (H, W, 3), not {array.dtype} {array.shape}")


class ClipEmbedder:
    """A CLIP model's picture tower as an ``Embedder`` of ``metrics.extraction``: unnormalised features."""

    def __init__(self, clip: ClipModel) -> None:
        self.clip = clip
        self.name = f"clip/{clip.title}/{clip.fingerprint}/{text_fingerprint(clip.configuration)}"
        probe = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
        dimension = self.embed([clip.transform(probe)])["image"].shape[1]
        self.outputs: Mapping[str, int] = {"image": dimension}

    def prepare(self, pixels: Pixels) -> torch.Tensor:
        """Apply the model's own validation transform."""
        return self.clip.transform(Image.fromarray(pixels))

    @torch.inference_mode()
    def embed(self, batch: Sequence[torch.Tensor]) -> dict[str, NDArray[np.float32]]:
        """Compute features of prepared pictures, float32 (B, d)."""
        features = self.clip.model.encode_image(torch.stack(list(batch)).to(self.clip.device))
        return {"image": features.float().cpu().numpy()}
