"""Use Stable Diffusion 1 and 2: one text encoder, no added conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers import StableDiffusionPipeline

from evenhand.generation.kinds.base import Conditions, JSONObject, Kind


class StableDiffusion(Kind):
    """``StableDiffusionPipeline``. The empty prompt is the encoded text ""."""

    pipeline_class: ClassVar[Any] = StableDiffusionPipeline
    class_names: ClassVar[tuple[str, ...]] = ("StableDiffusionPipeline", "SegmentationFreeStableDiffusionPipeline")
    parts: ClassVar[tuple[str, ...]] = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    tokenizers: ClassVar[tuple[str, ...]] = ("tokenizer",)
    omitted: ClassVar[Mapping[str, None]] = {"safety_checker": None, "feature_extractor": None}
    options: ClassVar[Mapping[str, object]] = {"requires_safety_checker": False}

    def encode(self, texts: Sequence[str], _size: tuple[int, int], /) -> Conditions:
        """Encode texts in one call; the size is not used."""
        states, _ = self.pipeline.encode_prompt(list(texts), self.pipeline.device, 1, False)
        return Conditions(states)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode latents in one call, in the VAE's own dtype."""
        vae = self.pipeline.vae
        decoded: torch.Tensor = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        return decoded

    def provenance(self, _size: tuple[int, int], /) -> JSONObject:
        """Return nothing: all is in what every kind records."""
        return {}
