"""Compute DINOv2 features, for the Fréchet distance in their space (Stein et al. 2023)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from evenhand.metrics.fingerprints import weights_fingerprint
from evenhand.metrics.local_models import load_model
from evenhand.metrics.pictures import Pixels

SIDE = 224
MEAN, DEVIATION = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)  # ImageNet's
# Of a configuration, what changes with transformers or the folder, and no feature:
NOT_THE_NETWORKS = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


class Dinov2:
    """Dinov2Model as an ``Embedder``: the class token after the last normalisation.

    Pictures are scaled to 224×224 by Pillow's bicubic filter, without a crop.
    """

    def __init__(self, name: str, *, device: str = "cpu") -> None:
        """Load the model from a local folder; raises ``LocalModelError``."""
        from transformers import Dinov2Model

        self.model: Any = load_model(Dinov2Model, name, "dinov2", device=device)
        self.device = torch.device(device)
        settings = {k: v for k, v in self.model.config.to_dict().items() if k not in NOT_THE_NETWORKS}
        fingerprint = weights_fingerprint(self.model.state_dict(), json.dumps(settings, sort_keys=True))
        self.name = f"dinov2/{Path(name).name}/{fingerprint}/{SIDE}"
        self.outputs: Mapping[str, int] = {"class_token": int(self.model.config.hidden_size)}

    def prepare(self, pixels: Pixels) -> torch.Tensor:
        """Scale and normalise a picture, float32 (3, 224, 224)."""
        scaled = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255
        return torch.from_numpy((scaled - MEAN) / DEVIATION).permute(2, 0, 1)

    @torch.inference_mode()
    def embed(self, batch: Sequence[torch.Tensor]) -> dict[str, NDArray[np.float32]]:
        """Compute the class token of prepared pictures, float32 (B, d)."""
        states = self.model(pixel_values=torch.stack(list(batch)).to(self.device)).last_hidden_state
        return {"class_token": states[:, 0].float().cpu().numpy()}
