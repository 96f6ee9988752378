"""The VAE's calls; ``test_network.py`` holds their fixed shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from evenhand.generation.decoding import decode_latents


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_latents_are_decoded_as_the_vae_decodes_them(pipeline: StableDiffusionPipeline, rows: int) -> None:
    latents = torch.randn((3, 4, 8, 8), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        images = decode_latents(pipeline, latents, rows)
        decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    expected = (decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).mul(255).numpy()
    assert images.dtype == np.uint8
    assert images.shape == (3, 16, 16, 3)
    assert np.abs(images - expected).max() <= 0.5001  # rounded, not cut off
