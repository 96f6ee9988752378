"""Extrapolate a Fréchet distance to infinitely many pictures (Chong & Forsyth 2020).

The distance of n pictures is too large by about c/n. It is computed for several n, and a line in 1/n is drawn through
the means; its intercept is the distance without that bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evenhand.metrics.frechet import FeatureError, FrechetTarget


@dataclass(frozen=True)
class Extrapolated:
    """The intercept, with its standard error over draws, and what it was drawn from.

    distances: mean distance for each of ``sizes``.
    """

    value: float
    standard_error: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]
    draws: int
    seed: int


def default_sizes(count: int, points: int = 6) -> tuple[int, ...]:
    """Return sizes from a third of ``count`` to all of it, evenly spaced in 1/n."""
    if count < 12:
        raise FeatureError(f"an extrapolation needs at least 12 pictures, there are {count}")
    inverse = np.linspace(3.0 / count, 1.0 / count, points)
    return tuple(sorted({round(1.0 / value) for value in inverse}))


def extrapolated(
    target: FrechetTarget,
    features: ArrayLike,
    *,
    sizes: tuple[int, ...] | None = None,
    draws: int = 5,
    seed: int = 0,
) -> Extrapolated:
    """Extrapolate the distance of features (N, d) to ``target``; subsets of one draw are prefixes of one permutation.

    The standard error is of the draws' intercepts: how much the choice of subsets matters, not of the pictures
    themselves. Raises ``FeatureError`` for fewer than two different sizes, or sizes beyond N.
    """
    count = len(np.asanyarray(features))
    chosen = sizes or default_sizes(count)
    if len(set(chosen)) < 2 or draws < 1 or min(chosen) < 2 or max(chosen) > count:
        raise FeatureError(f"an extrapolation needs two sizes from 2 to {count} and a draw, not {chosen}, {draws}")
    ascending, rng = sorted(set(chosen)), np.random.default_rng(seed)
    found = np.array([target.distances_to(features, rng.permutation(count), ascending) for _ in range(draws)])
    design = np.column_stack([np.ones(len(ascending)), 1.0 / np.array(ascending)])
    intercepts = np.linalg.lstsq(design, found.T, rcond=None)[0][0]
    error = float(intercepts.std(ddof=1) / np.sqrt(draws)) if draws > 1 else float("nan")
    means = tuple(float(value) for value in found.mean(axis=0))
    return Extrapolated(float(intercepts.mean()), error, tuple(ascending), means, draws, seed)
