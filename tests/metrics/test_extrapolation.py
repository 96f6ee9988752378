"""The Fréchet distance without its bias from a finite number of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from evenhand.metrics.extrapolation import default_sizes, extrapolated
from evenhand.metrics.frechet import FeatureError, FrechetTarget
from evenhand.metrics.gaussian import Gaussian


def test_it_removes_most_of_the_bias() -> None:
    """Two normal distributions at squared distance 0.5² · 20 + 20 · (1 − 1.2)² = 5.8."""
    rng = np.random.default_rng(0)
    target = FrechetTarget(Gaussian(10**6, np.zeros(20), np.eye(20)))
    features = 0.5 + 1.2 * rng.normal(size=(600, 20))
    found = extrapolated(target, features, draws=10)
    plain = target.distance_to(features)
    assert abs(found.value - 5.8) < 0.35
    assert found.distances[-1] == pytest.approx(plain, rel=1e-9)
    assert list(found.distances) == sorted(found.distances, reverse=True)  # the bias falls with the number
    assert found.value < plain
    assert found.standard_error > 0
    assert found == extrapolated(target, features, draws=10)


def test_bad_sizes_are_named() -> None:
    target = FrechetTarget(Gaussian(10, np.zeros(3), np.eye(3)))
    features = np.random.default_rng(0).normal(size=(30, 3))
    assert (default_sizes(12)[0], default_sizes(12)[-1]) == (4, 12)
    for sizes in ((10,), (10, 31), (1, 10), (10, 10)):
        with pytest.raises(FeatureError, match="two sizes from 2 to 30"):
            extrapolated(target, features, sizes=sizes)
    with pytest.raises(FeatureError, match="at least 12 pictures, there are 5"):
        extrapolated(target, features[:5])
    assert np.isnan(extrapolated(target, features, draws=1).standard_error)
