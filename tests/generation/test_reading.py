"""The map of a given picture: the tokens that stock attention's weights name, nothing perturbed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.models.attention_processor import Attention

from evenhand.generation import noise
from evenhand.generation.attention import cross_attention_modules
from evenhand.generation.reading import semantic_maps_of

PROMPTS, SEEDS = ["a red circle", "a dog left of a cat"], [3, 4]


class Recording:
    """Cross-attention with its weights written out and kept, head by head."""

    def __init__(self) -> None:
        self.weights: torch.Tensor | None = None  # (B, heads, patches, tokens)

    def __call__(
        self, attn: Attention, hidden: torch.Tensor, encoder_hidden_states: torch.Tensor, **_: object
    ) -> torch.Tensor:
        query, key, value = (
            attn.head_to_batch_dim(each)
            for each in (attn.to_q(hidden), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        )
        weights = attn.get_attention_scores(query, key)
        self.weights = weights.unflatten(0, (-1, attn.heads))
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(weights @ value)))


def expected_maps(pipeline: StableDiffusionPipeline, latents: np.ndarray, timestep: int) -> dict[str, np.ndarray]:
    """Token index (B, patches) of each module, with diffusers alone."""
    names = cross_attention_modules(pipeline.unet)
    recorders = {name: Recording() for name in names}
    pipeline.unet.set_attn_processor(
        pipeline.unet.attn_processors | {f"{name}.processor": each for name, each in recorders.items()}
    )
    states, _ = pipeline.encode_prompt(PROMPTS, pipeline.device, 1, False)
    drawn = noise.draw(SEEDS, 0, latents.shape[1:])
    noisy = DDIMScheduler.from_config(pipeline.scheduler.config).add_noise(
        torch.from_numpy(latents), drawn, torch.tensor([timestep])
    )
    with torch.no_grad():
        pipeline.unet(noisy, timestep, states)
    found = {}
    for name, recorder in recorders.items():
        assert recorder.weights is not None
        found[name] = recorder.weights.mean(dim=1)[:, :, 1:].argmax(dim=-1).numpy() + 1
    return found


def test_the_map_is_that_of_the_plain_network(
    pipeline: StableDiffusionPipeline, stock: StableDiffusionPipeline
) -> None:
    latents = np.random.default_rng(0).standard_normal((2, 4, 8, 8), np.float32)
    maps = semantic_maps_of(pipeline, latents, PROMPTS, SEEDS, steps=10, iterations=[2, 9])
    assert list(maps) == [2, 9]
    for iteration, timestep in ((2, 701), (9, 1)):  # leading spacing, offset 1
        expected = expected_maps(stock, latents, timestep)
        assert set(maps[iteration]) == set(expected)
        for name, grids in maps[iteration].items():
            assert grids.shape[:2] == (2, 1)
            assert np.array_equal(grids.reshape(2, -1), expected[name]), name
    differing = [np.mean(maps[2][name] != maps[9][name]) for name in maps[2]]
    assert max(differing) > 0  # another amount of noise is another question


def test_the_second_half_is_read_by_default(pipeline: StableDiffusionPipeline) -> None:
    latents = np.zeros((1, 4, 8, 8), np.float32)
    assert list(semantic_maps_of(pipeline, latents, PROMPTS[:1], [1], steps=5)) == [2, 3, 4]


@pytest.mark.parametrize(
    ("prompts", "seeds", "iterations", "named"),
    [
        (PROMPTS, [1], None, "1 latents, 2 prompts and 1 seeds"),
        (PROMPTS[:1], [], None, "1 latents, 1 prompts and 0 seeds"),
        (PROMPTS[:1], [1], [5], r"0…4, not 5"),
        (PROMPTS[:1], [1], [-1], r"0…4, not -1"),
        ([" "], [1], None, "prompt 0 must be a text"),
    ],
)
def test_what_does_not_fit_is_named(
    pipeline: StableDiffusionPipeline, prompts: list[str], seeds: list[int], iterations: list[int] | None, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        semantic_maps_of(pipeline, np.zeros((1, 4, 8, 8)), prompts, seeds, steps=5, iterations=iterations)
