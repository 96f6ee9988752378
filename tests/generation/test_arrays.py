"""The grids on which an attention module's patches lie."""

from __future__ import annotations

import pytest
from diffusers import StableDiffusionPipeline
from hypothesis import given
from hypothesis import strategies as st

from evenhand.generation.arrays import patch_grid
from evenhand.generation.guidance import SegmentationFree
from evenhand.generation.trajectory import generate

PROMPTS = ["a red circle"]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 4))
def test_patches_lie_on_the_halved_latent(rows: int, columns: int, halvings: int) -> None:
    """A convolution of stride two, as in the UNet, rounds up."""
    expected = rows, columns
    for _ in range(halvings):
        expected = (expected[0] + 1) // 2, (expected[1] + 1) // 2
    assert patch_grid(expected[0] * expected[1], (rows, columns)) == expected


def test_odd_sizes_are_halved_as_the_network_halves_them(pipeline: StableDiffusionPipeline) -> None:
    result = generate(
        pipeline,
        PROMPTS[:1],
        [1],
        {"a": SegmentationFree(switch_after=0)},
        steps=1,
        height=14,
        width=10,
        batch_size=1,
        semantic_maps=True,
    )
    assert result.images["a"].shape == (1, 14, 10, 3)
    sizes = {module.split("_")[0]: grid.shape[2:] for module, grid in result.semantic_maps["a"][0].items()}
    assert sizes == {"down": (7, 5), "mid": (4, 3), "up": (7, 5)}


def test_patches_of_no_halving_are_an_error() -> None:
    with pytest.raises(ValueError, match="7 patches are no halving of latents of size 8×8"):
        patch_grid(7, (8, 8))
