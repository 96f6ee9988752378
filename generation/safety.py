"""Flag finished pictures with a checkpoint's own safety checker, without changing them.

diffusers' checker overwrites flagged pictures with black, in place. Here it gets placeholder arrays and only its
verdict is read, so that no evaluator rates a black picture.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import InputError, is_machine_fault

PART = "safety_checker"


class SafetyError(InputError):
    """A safety checker that a checkpoint declares and that cannot be loaded; the message names the checkpoint."""


def may_have_checker(name_or_path: str | Path) -> bool:
    """Return whether a checkpoint may have a safety checker: a folder's index decides, a hub id always may."""
    index = Path(name_or_path) / "model_index.json"
    if not index.is_file():
        return not Path(name_or_path).is_dir()
    entry = json.loads(index.read_text(encoding="utf-8")).get(PART)
    return bool(entry and entry[0])


@dataclass(frozen=True)
class SafetyScreen:
    """A loaded checker. ``name`` is its class and the beginning of the SHA-256 of its weights, thresholds included."""

    name: str
    checker: Any
    extractor: Any
    device: str

    def flags(self, pictures: Sequence[NDArray[np.uint8]]) -> list[bool]:
        """Return for each picture, uint8 (H, W, 3), whether the checker would hide it."""
        import torch

        if not pictures:
            return []
        pixel_values = self.extractor(images=list(pictures), return_tensors="pt").pixel_values.to(self.device)
        with torch.inference_mode():
            _, verdicts = self.checker(clip_input=pixel_values, images=np.zeros((len(pictures), 1, 1, 3)))
        return [bool(verdict) for verdict in verdicts]


def load_safety_screen(
    name_or_path: str | Path, *, device: str = "cpu", safetensors_only: bool = False
) -> SafetyScreen | None:
    """Load a checkpoint's safety checker; None where it has none. Raises SafetyError where loading fails.

    safetensors_only: refuse pickled weights, which could run code.
    """
    from diffusers import DiffusionPipeline
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    # Its warning says that a black image is returned, which does not happen here.
    logging.getLogger(StableDiffusionSafetyChecker.__module__).setLevel(logging.ERROR)
    name = str(name_or_path)
    if not may_have_checker(name):
        return None
    if not Path(name).is_dir() and not (DiffusionPipeline.load_config(name).get(PART) or [None])[0]:
        return None
    # bandit's B615 asks for a pinned revision: a study's checkpoint has one, which is checked before it is loaded
    safe = {"use_safetensors": True} if safetensors_only else {}
    try:
        checker = StableDiffusionSafetyChecker.from_pretrained(name, subfolder=PART, **safe).eval()
        extractor = CLIPImageProcessor.from_pretrained(name, subfolder="feature_extractor")  # nosec B615
    except (OSError, ValueError, RuntimeError) as error:
        if is_machine_fault(error):
            raise
        raise SafetyError(f"the safety checker of {name} cannot be loaded: {error}") from error
    return SafetyScreen(f"{type(checker).__name__}-{_weights_key(checker)}", checker.to(device), extractor, device)


def _weights_key(checker: Any) -> str:
    """Return twelve hexadecimal digits that identify a checker by its weights, wherever it was loaded from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(checker.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
