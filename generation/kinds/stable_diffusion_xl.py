"""Use Stable Diffusion XL: two text encoders, added conditions, a VAE that overflows in half precision.

Podell et al. 2023 (arXiv 2307.01952), as diffusers' ``StableDiffusionXLPipeline`` does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from diffusers import StableDiffusionXLPipeline

from evenhand.generation.kinds.base import Conditions, JSONObject, Kind


class StableDiffusionXL(Kind):
    """``StableDiffusionXLPipeline``, its base model without a refiner.

    Each row has the states of both encoders side by side, the second one's pooled text, and six numbers: the size of
    the picture before it was cropped (here its own), the crop's corner (0, 0), and its size.
    """

    pipeline_class: ClassVar[Any] = StableDiffusionXLPipeline
    class_names: ClassVar[tuple[str, ...]] = ("StableDiffusionXLPipeline",)
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    tokenizers: ClassVar[tuple[str, ...]] = ("tokenizer", "tokenizer_2")
    parts: ClassVar[tuple[str, ...]] = ("unet", "vae", *encoders, *tokenizers, "scheduler")
    omitted: ClassVar[Mapping[str, None]] = {"image_encoder": None, "feature_extractor": None}
    options: ClassVar[Mapping[str, object]] = {"add_watermarker": False}
    added_embedding: ClassVar[str | None] = "text_time"

    def encode(self, texts: Sequence[str], size: tuple[int, int], /) -> Conditions:
        """Encode texts in one call. Where the checkpoint says so, ∅ is zeros; else it is the encoded text ""."""
        states, _, pooled, _ = self.pipeline.encode_prompt(
            list(texts), device=self.pipeline.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        if self._zeros_for_empty:
            empty = torch.tensor([not text for text in texts], device=states.device)
            states = states.masked_fill(empty[:, None, None], 0.0)
            pooled = pooled.masked_fill(empty[:, None], 0.0)
        numbers = torch.tensor([[*size, 0, 0, *size]] * len(texts), dtype=states.dtype, device=states.device)
        return Conditions(states, {"text_embeds": pooled, "time_ids": numbers})

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode latents in one call: a float16 VAE whose configuration says ``force_upcast`` in float32."""
        vae = self.pipeline.vae
        with self._upcast():
            decoded: torch.Tensor = vae.decode(self._unscaled(latents.to(vae.dtype)), return_dict=False)[0]
        return decoded

    @property
    def decoder_dtype(self) -> torch.dtype:
        """The VAE's dtype, or float32 where that overflows."""
        return torch.float32 if self._overflows else super().decoder_dtype

    def provenance(self, size: tuple[int, int], /) -> JSONObject:
        """Return which tensors stand for ∅, the six numbers, and the dtype in which the VAE decodes."""
        return {
            "empty_prompt": "zeros" if self._zeros_for_empty else "encoded",
            "added_conditions": {"original_size": list(size), "crop": [0, 0], "target_size": list(size)},
            "vae_dtype": str(self.decoder_dtype).removeprefix("torch."),
        }

    def misfit(self) -> str | None:
        """Say what does not fit together, the added conditions' widths and the tokenizers' limits among it."""
        limits = [getattr(self.pipeline, part).model_max_length for part in self.tokenizers]
        if len(set(limits)) > 1:
            return f"its tokenizers read {' and '.join(map(str, limits))} tokens, which must be equal"
        config = self.pipeline.unet.config
        pooled_width = self.pipeline.text_encoder_2.config.projection_dim
        given, read = 6 * config.addition_time_embed_dim + pooled_width, config.projection_class_embeddings_input_dim
        if given != read:
            return f"its network reads added conditions of width {read}, and gets {given}"
        return super().misfit()

    @property
    def _zeros_for_empty(self) -> bool:
        return bool(self.pipeline.config.force_zeros_for_empty_prompt)

    @property
    def _overflows(self) -> bool:
        vae = self.pipeline.vae
        return vae.dtype == torch.float16 and bool(vae.config.force_upcast)

    @contextmanager
    def _upcast(self) -> Iterator[None]:
        """Compute in float32 where float16 overflows; the weights are float16 again afterwards, bit for bit."""
        if not self._overflows:
            yield
            return
        self.pipeline.vae.float()
        try:
            yield
        finally:
            self.pipeline.vae.half()

    def _unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Undo the VAE's scale, and shift where its configuration has one for each channel."""
        config = self.pipeline.vae.config
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is None or std is None:
            return latents / config.scaling_factor
        mean, std = (torch.tensor(values).view(1, -1, 1, 1).to(latents) for values in (mean, std))
        return latents * std / config.scaling_factor + mean
