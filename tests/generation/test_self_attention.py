from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from hypothesis import given
from hypothesis import strategies as st

from evenhand.generation.attention import guide_attention
from evenhand.generation.methods.rows import SelfAttention
from evenhand.generation.self_attention import blur_matrix, self_attention_modules, self_changes
from tests.helpers.slow_self_attention import blurred

CPU = torch.device("cpu")


@given(st.integers(2, 12), st.floats(0.05, 20) | st.just(math.inf))
def test_the_blur_is_the_two_dimensional_kernel(side: int, sigma: float) -> None:
    grid = np.random.default_rng(1).normal(size=(side, side, 3))
    matrix = blur_matrix(side, sigma).numpy()
    np.testing.assert_allclose(np.einsum("ij,kl,jlc->ikc", matrix, matrix, grid), blurred(grid, sigma), atol=1e-12)


def test_no_blur_and_one_patch_change_nothing() -> None:
    assert torch.equal(blur_matrix(5, 0.0), torch.eye(5, dtype=torch.float64))
    assert blur_matrix(1, 3.0).tolist() == [[1.0]]


@pytest.mark.parametrize("side", [1, 7, 8])
def test_a_blur_as_wide_as_floats_go_is_that_of_a_wide_one(side: int) -> None:
    assert torch.equal(blur_matrix(side, 1e308), blur_matrix(side, 1e12))


def test_layers_are_modules_or_the_blocks_they_lie_in(pipeline: StableDiffusionPipeline) -> None:
    unet = pipeline.unet
    (middle,) = self_attention_modules(unet, ["mid_block"])
    assert middle == "mid_block.attentions.0.transformer_blocks.0.attn1"
    assert self_attention_modules(unet, [middle]) == [middle]
    everything = self_attention_modules(unet, ["down_blocks", "up_blocks", "mid_block"])
    assert len(everything) == 4
    assert all(name.endswith("attn1") for name in everything)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_plain_rows_are_stock_bit_for_bit(stock: StableDiffusionPipeline, dtype: torch.dtype) -> None:
    unet = stock.unet.to(dtype)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(4, 4, 8, 8, generator=generator).to(dtype)
    text = torch.randn(4, 77, 32, generator=generator).to(dtype)
    expected = unet(latents, 501, text).sample
    guide_attention(unet)
    rows = [
        None,
        SelfAttention(("mid_block",)),
        SelfAttention(("mid_block", "down_blocks.0"), 1.5),
        SelfAttention(("up_blocks",), math.inf),
    ]
    changes = self_changes(unet, rows, (8, 8), device=CPU, dtype=dtype)
    changed = unet(latents, 501, text, cross_attention_kwargs={"self_changes": changes}).sample
    assert [torch.equal(one, other) for one, other in zip(changed, expected, strict=True)] == [True] + [False] * 3
    assert self_changes(unet, [None] * 4, (8, 8), device=CPU, dtype=dtype) is None
