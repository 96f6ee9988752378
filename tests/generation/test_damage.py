"""A damaged copy is plainly the worse one, and its file is as long as is wanted."""

from __future__ import annotations

import numpy as np
import pytest

from evenhand.demo import scenes
from evenhand.errors import InputError
from evenhand.generation.damage import VISIBLE, damaged, damaged_to_size
from evenhand.generation.images import encode_png

SIDE = 96


def smooth(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE][..., np.newaxis] / SIDE
    a, b, c = rng.normal(size=(3, 3))
    return np.clip(128 + 90 * np.sin(5 * (a * x + b * y) + c), 0, 255).astype(np.uint8)


def detailed(rng: np.random.Generator) -> np.ndarray:
    return np.clip(smooth(rng) + rng.normal(0, 30, (SIDE, SIDE, 1)), 0, 255).astype(np.uint8)


def scene(rng: np.random.Generator) -> np.ndarray:
    picture = scenes.render(scenes.sample_scene(rng), SIDE)[0]
    return np.clip(np.rint(picture + rng.normal(0, 1, picture.shape)), 0, 255).astype(np.uint8)


def grey(_rng: np.random.Generator) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), 128, np.uint8)


@pytest.mark.parametrize("draw", [smooth, detailed, scene, grey])
def test_it_is_plainly_damaged(draw: object) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        picture = draw(rng)  # type: ignore[operator]
        worse = damaged(picture, rng)
        assert (worse.shape, worse.dtype) == (picture.shape, picture.dtype)
        assert np.abs(worse.astype(float) - picture).mean() > 0.9 * VISIBLE


@pytest.mark.parametrize(("draw", "spread"), [(smooth, 0.1), (detailed, 0.03), (scene, 0.06)])
def test_its_file_has_the_wanted_size(draw: object, spread: float) -> None:
    """Noise as damage would make a file twice as long: a logarithm of 0.7."""
    misses = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        picture = draw(rng)  # type: ignore[operator]
        wanted = len(encode_png(picture)) * rng.uniform(0.9, 1.1)

        def miss(copy: np.ndarray, wanted: float = wanted) -> float:
            return float(np.log(len(encode_png(copy)) / wanted))

        worse = damaged_to_size(picture, rng, miss)
        assert np.abs(worse.astype(float) - picture).mean() > 0.5 * VISIBLE
        misses.append(miss(worse))
    assert np.sqrt(np.mean(np.square(misses))) < spread
    assert abs(np.median(misses)) < 0.04


def test_the_texture_makes_a_file_smaller_or_larger() -> None:
    picture = detailed(np.random.default_rng(3))
    lengths = [
        len(encode_png(damaged(picture, np.random.default_rng(4), texture=texture)))
        for texture in (-1, -0.3, 0, 0.5, 1)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] < 0.8 * lengths[2]


def test_edges_beyond_the_last_block_keep_their_places() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (67, 70, 3), dtype=np.uint8)
    worse = damaged(picture, np.random.default_rng(1), cuts=8)
    assert np.array_equal(worse[64:], picture[64:])
    assert np.array_equal(worse[:, 64:], picture[:, 64:])
    assert np.mean(worse[:64, :64] == picture[:64, :64]) < 0.2


def test_equal_streams_give_equal_damage() -> None:
    picture = detailed(np.random.default_rng(0))
    first, second = (damaged(picture, np.random.default_rng(5), texture=0.4) for _ in range(2))
    assert np.array_equal(first, second)


def test_what_is_too_small_is_refused() -> None:
    picture = np.zeros((90, 3, 3), np.uint8)
    with pytest.raises(InputError, match="3×90 is too small"):
        damaged(picture, np.random.default_rng(0))
    with pytest.raises(InputError, match="1×1 is too small"):
        damaged_to_size(np.zeros((1, 1, 3), np.uint8), np.random.default_rng(0), lambda _: 0.0)
