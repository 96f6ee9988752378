"""Compute the semantic maps (eq. 9) of a finished picture in the unperturbed network.

``generate(..., semantic_maps=True)`` records the maps that guidance used in the perturbed network, where earlier
modules change the input of later ones. This module takes any picture, generated or photographed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from evenhand.errors import InputError
from evenhand.generation import noise
from evenhand.generation.arrays import patch_grid
from evenhand.generation.attention import (
    Perturbation,
    RowChange,
    SemanticMaps,
    after_first,
    guide_attention,
    perturbation,
)
from evenhand.generation.kinds.base import Conditions
from evenhand.generation.kinds.registry import Pipeline
from evenhand.generation.schedule import build_scheduler
from evenhand.generation.text import check_prompts, encode_texts

Maps = dict[int, dict[str, NDArray[np.int16]]]


@torch.no_grad()
def semantic_maps_of(
    pipeline: Pipeline,
    latents: NDArray[np.floating],
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 20,
    iterations: Iterable[int] | None = None,
) -> Maps:
    """Compute maps by iteration and module, int16 (B, 1, rows, columns), as ``Generated.semantic_maps`` has for an arm.

    latents: (B, C, h, w) of finished pictures, as ``Generated.latents`` has them; they get the noise of ``seeds`` at
    the level of each iteration of a DDIM trajectory of ``steps``. iterations: 0 … T−1; the second half by default.
    Raises ValueError where lengths differ or an iteration is not one of the trajectory's.
    """
    if not len(latents) == len(prompts) == len(seeds):
        raise InputError(f"{len(latents)} latents, {len(prompts)} prompts and {len(seeds)} seeds do not fit together")
    iteration_numbers = list(range(steps // 2, steps)) if iterations is None else list(iterations)
    for iteration in iteration_numbers:
        if not 0 <= iteration < steps:
            raise InputError(f"iterations must lie in 0…{steps - 1}, not {iteration!r}")
    check_prompts(pipeline, prompts)
    guide_attention(pipeline.unet)
    scheduler = build_scheduler("ddim", pipeline.scheduler.config, steps)
    height, width = (side * pipeline.vae_scale_factor for side in np.shape(latents)[2:])
    conditions = encode_texts(pipeline, prompts, len(prompts), (height, width))
    states = conditions.states
    clean_latents = torch.from_numpy(np.asarray(latents)).to(states)
    channels, rows, columns = clean_latents.shape[1:]
    picture_noise = noise.draw(seeds, 0, (channels, rows, columns)).to(states)
    plain_change = RowChange(-1.0, after_first(states.shape[1]))  # a = −1 leaves the weight unchanged
    batch_perturbation = perturbation([plain_change] * len(prompts), device=states.device, dtype=states.dtype)
    assert batch_perturbation is not None
    maps: Maps = {}
    for iteration in iteration_numbers:
        timestep = scheduler.timesteps[iteration]
        noisy_latents = scheduler.add_noise(clean_latents, picture_noise, timestep[None])  # type: ignore[attr-defined]
        maps[iteration] = _read(pipeline, noisy_latents, timestep, conditions, batch_perturbation)
    return maps


def _read(
    pipeline: Pipeline,
    latents: torch.Tensor,
    timestep: torch.Tensor,
    conditions: Conditions,
    change: Perturbation,
) -> dict[str, NDArray[np.int16]]:
    maps: SemanticMaps = {}
    pipeline.unet(
        latents,
        timestep,
        conditions.states,
        cross_attention_kwargs={"perturbation": change, "semantic_maps": maps},
        added_cond_kwargs=dict(conditions.added) or None,
    )
    size = (int(latents.shape[2]), int(latents.shape[3]))
    return {
        name: tokens[:, :1].unflatten(-1, patch_grid(tokens.shape[-1], size)).cpu().numpy().astype(np.int16)
        for name, tokens in maps.items()
    }
