"""The semantic map of a given picture: which token each patch follows (eq. 9) in a network that nothing perturbs.

``generate(..., semantic_maps=True)`` records what guidance used, in the perturbed network itself, whose earlier modules
change what later ones see. This reads the picture instead, drawn or photographed, as the plain network does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from evenhand.errors import InputError
from evenhand.generation import noise
from evenhand.generation.attention import (
    Perturbation,
    RowChange,
    SemanticMaps,
    after_first,
    guide_attention,
    perturbation,
)
from evenhand.generation.schedule import build_scheduler
from evenhand.generation.text import check_prompts, encode_texts
from evenhand.generation.trajectory import patch_grid

Maps = dict[int, dict[str, NDArray[np.int16]]]


@torch.no_grad()
def semantic_maps_of(
    pipeline: StableDiffusionPipeline,
    latents: NDArray[np.floating],
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 20,
    iterations: Iterable[int] | None = None,
) -> Maps:
    """Maps by iteration and module, int16 (B, 1, rows, columns), like those of an arm of ``Generated.semantic_maps``.

    latents: (B, C, h, w) of finished pictures, as ``Generated.latents`` has them; they get the noise of ``seeds`` as
    far as a DDIM trajectory of ``steps`` iterations has it. iterations: 0 … T−1; the second half by default.
    Raises ValueError where lengths differ or an iteration is not one of the trajectory's.
    """
    if not len(latents) == len(prompts) == len(seeds):
        raise InputError(f"{len(latents)} latents, {len(prompts)} prompts and {len(seeds)} seeds do not fit together")
    chosen = list(range(steps // 2, steps)) if iterations is None else list(iterations)
    for iteration in chosen:
        if not 0 <= iteration < steps:
            raise InputError(f"iterations must lie in 0…{steps - 1}, not {iteration!r}")
    check_prompts(pipeline, prompts)
    guide_attention(pipeline.unet)
    scheduler = build_scheduler("ddim", pipeline.scheduler.config, steps)
    states = encode_texts(pipeline, prompts, len(prompts))
    clean = torch.from_numpy(np.asarray(latents)).to(states)
    channels, height, width = clean.shape[1:]
    drawn = noise.draw(seeds, 0, (channels, height, width)).to(states)
    unchanged = RowChange(-1.0, after_first(states.shape[1]))  # a = −1 takes the weight as it is
    change = perturbation([unchanged] * len(prompts), device=states.device, dtype=states.dtype)
    assert change is not None
    maps: Maps = {}
    for iteration in chosen:
        timestep = scheduler.timesteps[iteration]
        noisy = scheduler.add_noise(clean, drawn, timestep[None])  # type: ignore[attr-defined]
        maps[iteration] = _read(pipeline, noisy, timestep, states, change)
    return maps


def _read(
    pipeline: StableDiffusionPipeline,
    noisy: torch.Tensor,
    timestep: torch.Tensor,
    states: torch.Tensor,
    change: Perturbation,
) -> dict[str, NDArray[np.int16]]:
    maps: SemanticMaps = {}
    pipeline.unet(noisy, timestep, states, cross_attention_kwargs={"perturbation": change, "semantic_maps": maps})
    size = (int(noisy.shape[2]), int(noisy.shape[3]))
    return {
        name: tokens[:, :1].unflatten(-1, patch_grid(tokens.shape[-1], size)).cpu().numpy().astype(np.int16)
        for name, tokens in maps.items()
    }
