from __future__ import annotations

import hashlib

import pytest
import torch
from diffusers.utils.torch_utils import randn_tensor
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.generation.noise import SEED_LIMIT, HandedNoise, draw

SHAPE = (4, 3, 5)
seeds = st.integers(0, SEED_LIMIT - 1)


@given(st.lists(seeds, min_size=1, max_size=5), st.integers(0, 60))
@settings(max_examples=30, deadline=None)
def test_a_row_depends_on_its_seed_and_number_alone(several: list[int], number: int) -> None:
    together = draw(several, number, SHAPE)
    assert together.shape == (len(several), *SHAPE)
    assert together.dtype == torch.float32
    for row, seed in zip(together, several, strict=True):
        assert torch.equal(row, draw([seed], number, SHAPE)[0])


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_the_first_draw_is_what_diffusers_draws(seed: int) -> None:
    theirs = randn_tensor((1, *SHAPE), generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    assert torch.equal(draw([seed], 0, SHAPE), theirs)


def test_the_first_numbers_of_seed_0() -> None:
    """PyTorch's well-known first normals after manual_seed(0), for tensors of at least 16 numbers."""
    assert draw([0], 0, (1, 4, 4)).flatten()[:3].tolist() == pytest.approx([-1.1258, -1.1524, -0.2506], abs=5e-5)


def test_later_draws_come_from_a_hash_of_seed_and_number() -> None:
    # printf '7:3' | sha256sum; its first eight bytes modulo 2**63
    digest = hashlib.sha256(b"7:3").hexdigest()
    generator = torch.Generator().manual_seed(int(digest[:16], 16) % 2**63)
    assert torch.equal(draw([7], 3, SHAPE), torch.randn((1, *SHAPE), generator=generator))


def test_draws_of_neighbouring_seeds_and_numbers_are_unrelated() -> None:
    """120 draws of 4096 numbers: no two correlate by more than 5.5 standard errors (7140 pairs: chance 3e-4)."""
    rows = torch.cat([draw(range(10), number, (4, 32, 32)).flatten(1) for number in range(12)]).double()
    correlations = torch.corrcoef(rows) - torch.eye(len(rows), dtype=torch.float64)
    assert correlations.abs().max() < 5.5 / 4096**0.5
    assert abs(float(rows.mean())) < 5 / rows.numel() ** 0.5
    assert float(rows.var()) == pytest.approx(1.0, abs=0.02)


def test_drawing_leaves_torchs_own_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    draw([5], 0, SHAPE)
    draw([5], 1, SHAPE)
    assert torch.equal(torch.rand(3), expected)


def test_handed_noise_is_cast_to_what_the_scheduler_asks_for() -> None:
    noise = draw([1, 2], 1, SHAPE)
    with HandedNoise(lambda: noise):
        exact = randn_tensor((2, *SHAPE), dtype=torch.float32)
        half = randn_tensor((2, *SHAPE), dtype=torch.bfloat16)
    assert torch.equal(exact, noise)
    assert torch.equal(half, noise.to(torch.bfloat16))


def test_handed_noise_replaces_nothing_but_normal_draws() -> None:
    with HandedNoise(lambda: pytest.fail("no noise was asked for")):
        torch.manual_seed(3)
        inside = torch.rand(4), torch.ones(2) + 1
    torch.manual_seed(3)
    assert torch.equal(inside[0], torch.rand(4))
    assert torch.equal(inside[1], torch.full((2,), 2.0))


def test_noise_is_torchs_own_again_afterwards() -> None:
    with HandedNoise(lambda: torch.zeros(2)):
        assert torch.equal(torch.randn((2,)), torch.zeros(2))
    assert torch.randn((64,)).abs().max() > 0


def test_noise_of_another_shape_is_an_error() -> None:
    with (
        HandedNoise(lambda: draw([1], 1, SHAPE)),
        pytest.raises(RuntimeError, match=r"asked for noise of shape \(2, 4, 3, 5\), not \(1, 4, 3, 5\)"),
    ):
        torch.randn((2, *SHAPE))
