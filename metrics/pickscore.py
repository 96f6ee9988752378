"""Score pictures with PickScore: CLIP fine-tuned on people's choices (Kirstain et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from evenhand.errors import InputError, is_machine_fault
from evenhand.metrics.fingerprints import marked, settings_of_folder, weights_fingerprint
from evenhand.metrics.local_models import LocalModelError, features_of, load_model
from evenhand.metrics.pictures import Pixels

DEFAULT = "yuvalkirstain/PickScore_v1"
PROCESSOR = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"  # whose preprocessing PickScore was published with


@dataclass(frozen=True)
class PickScore:
    """The loaded model with its preprocessing.

    is_local: whether it was loaded from a folder. folder_settings: of folders, as ``fingerprints.settings_of_folder``
    returns them.
    """

    name: str
    model: Any
    processor: Any
    device: torch.device
    is_local: bool = False
    folder_settings: str = ""

    @property
    def label(self) -> str:
        """What records call the metric: the published weights by its name, a folder with digits of its fingerprint."""
        if self.name == DEFAULT:
            return "pickscore"
        name = Path(self.name).name
        return f"pickscore:{marked(name, self.fingerprint) if self.is_local else name}"

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 over the weights, and over what else a folder holds."""
        return weights_fingerprint(self.model.state_dict(), self.folder_settings)


def load_pickscore(name: str = DEFAULT, processor: str | None = None, *, device: str = "cpu") -> PickScore:
    """Load the model from a local folder or the hub's local cache; nothing is downloaded.

    processor: folder or name with tokenizer and preprocessing; the model's own folder where it holds them, else the
    published one. Raises ``LocalModelError``.
    """
    from transformers import CLIPModel, CLIPProcessor

    model = load_model(CLIPModel, name, "clip", device=device)
    has_own = Path(name).is_dir() and (Path(name) / "preprocessor_config.json").is_file()
    source = processor or (name if has_own else PROCESSOR)
    try:
        prepared = CLIPProcessor.from_pretrained(source, local_files_only=True)  # nosec B615  # nothing is downloaded
    except Exception as error:  # of transformers' hub client, tokenizers or json
        if is_machine_fault(error):
            raise
        raise LocalModelError(f"the preprocessing {source!r} of {name!r} cannot be loaded: {error}") from error
    folders = [folder for folder in dict.fromkeys((Path(name), Path(source))) if folder.is_dir()]
    return PickScore(
        name,
        model,
        prepared,
        torch.device(device),
        is_local=Path(name).is_dir(),
        folder_settings="".join(map(settings_of_folder, folders)),
    )


@torch.inference_mode()
def pick_scores(
    images: Sequence[Pixels], texts: Sequence[str], model: PickScore, batch_size: int = 32
) -> NDArray[np.float32]:
    """Compute exp(logit_scale) · cosine of each uint8 (H, W, 3) image with its text, float32 (N,).

    Every call has ``batch_size`` rows (the last is padded), so that a score does not depend on the other rows.
    """
    if len(images) != len(texts):
        raise InputError(f"{len(images)} images but {len(texts)} texts")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    scores = []
    for start in range(0, len(images), batch_size):
        pictures = [Image.fromarray(image) for image in images[start : start + batch_size]]
        words = list(texts[start : start + batch_size])
        count = len(pictures)
        pictures += [pictures[-1]] * (batch_size - count)
        words += [words[-1]] * (batch_size - count)
        pixels = model.processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
        tokens = model.processor.tokenizer(
            words, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
        )
        seen = features_of(model.model.get_image_features(pixel_values=pixels.to(model.device)))
        said = features_of(model.model.get_text_features(**{k: v.to(model.device) for k, v in tokens.items()}))
        cosines = torch.nn.functional.normalize(seen, dim=-1) * torch.nn.functional.normalize(said, dim=-1)
        scores.append((model.model.logit_scale.exp() * cosines.sum(dim=-1))[:count].float().cpu().numpy())
    return np.concatenate(scores) if scores else np.zeros(0, np.float32)
