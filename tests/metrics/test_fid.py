"""FID is the Fréchet distance, with a warning where sets are too small for it."""

from __future__ import annotations

import numpy as np
import pytest

from evenhand.metrics.fid import FEWEST, few_pictures, fid
from evenhand.metrics.frechet import SELF_TOLERANCE, FeatureError, FrechetReference, FrechetTarget, frechet_distance
from evenhand.metrics.gaussian import GaussianSums

RNG = np.random.default_rng


def inception_like(seed: int, count: int, dimension: int = 2048) -> np.ndarray:
    """Features that are not negative, mostly small, and correlated, as Inception's pooled ones are; float32."""
    rng = RNG(seed)
    mixed = rng.normal(size=(count, 64)) @ rng.normal(size=(64, dimension)) * 0.1 + rng.normal(size=(count, dimension))
    return np.maximum(mixed, 0).astype(np.float32) * 0.4


def fitted(features: np.ndarray) -> FrechetTarget:
    sums = GaussianSums(features.shape[1])
    sums.add(features)
    return FrechetTarget(sums.gaussian())


@pytest.mark.parametrize(
    ("count", "dimension"),
    [
        (50, 256),
        (300, 256),
        (FEWEST, 256),
        pytest.param(300, 2048, marks=pytest.mark.slow),
        pytest.param(FEWEST + 1, 2048, marks=pytest.mark.slow),
    ],
)
def test_a_set_lies_at_itself(count: int, dimension: int) -> None:
    """With covariances of low and of full rank, slowly in Inception's own dimensions: method §4.3's bound."""
    features = inception_like(0, count, dimension)
    target = fitted(features)
    found = fid(target, features)
    assert 0 <= found.distance <= 2 * SELF_TOLERANCE * target.trace
    assert SELF_TOLERANCE == 1e-6
    assert bool(found.warnings) == (count < FEWEST)


def test_it_is_the_frechet_distance() -> None:
    one, other = inception_like(1, 40, 16), inception_like(2, 60, 16)
    found = fid(fitted(other), one)
    assert found.distance == pytest.approx(frechet_distance(one, other), rel=1e-6)
    assert (found.pictures, found.reference) == (40, 60)
    whole = fid(FrechetReference(other), one)
    assert whole.distance == pytest.approx(found.distance, rel=1e-6)


def test_each_small_set_is_warned_of() -> None:
    small, large = inception_like(3, 40, 16), inception_like(4, 2048, 16)
    assert fid(fitted(large), large).warnings == ()
    (warning,) = fid(fitted(large), small).warnings
    assert warning.startswith("40 pictures: that is fewer than 2,048, so the distance is too large")
    (warning,) = fid(fitted(small), large).warnings
    assert warning.startswith("40 reference pictures: ")
    assert len(fid(fitted(small), small).warnings) == 2


@pytest.mark.parametrize(
    ("count", "dimension", "words"),
    [
        (2047, 2048, "2,047 pictures: their covariance has a rank of 2,046 at most, of 2,048 dimensions"),
        (2048, 2048, "2,048 pictures: their covariance has a rank of 2,047 at most"),
        (2049, 2048, ""),
        (2047, 768, "fewer than 2,048"),
        (2048, 768, ""),
        (4000, 4096, "rank of 3,999 at most, of 4,096"),
    ],
)
def test_the_warning_names_the_rank_or_the_number(count: int, dimension: int, words: str) -> None:
    assert words in few_pictures(count, dimension)
    assert bool(few_pictures(count, dimension)) == bool(words)


def test_few_pictures_do_make_it_too_large() -> None:
    """Two draws from one distribution, whose distance is 0: the fewer, the larger."""
    found = [fid(fitted(inception_like(5, n, 256)), inception_like(6, n, 256)) for n in (100, 400, 3000)]
    distances = [each.distance for each in found]
    assert distances[0] > 2 * distances[1] > 4 * distances[2] > 0
    assert [bool(each.warnings) for each in found] == [True, True, False]


def test_bad_features_are_named() -> None:
    target = fitted(inception_like(7, 30, 8))
    with pytest.raises(FeatureError, match="4 dimensions, the set has 8"):
        fid(target, np.zeros((5, 4)))
    with pytest.raises(FeatureError, match="at least 2 rows"):
        fid(target, np.zeros((1, 8)))
