"""Compute maximum mean discrepancies of feature sets: KID and CMMD, with intervals.

The squared discrepancy of kernel k is E k(x, x') + E k(y, y') − 2 E k(x, y) (Gretton et al. 2012). Its unbiased
estimate leaves out the pairs of a picture with itself; the biased one, which CMMD is published with, keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from evenhand.metrics.frechet import FeatureError, checked

Floats = NDArray[np.float64]
Kernel = Callable[[Floats, Floats], Floats]
BLOCK = 1024  # rows of a kernel matrix at a time
MOST_ROWS = 5000  # of each set; larger sets are drawn from
CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0  # Jayasumana et al. 2024


def polynomial_kernel(x: Floats, y: Floats) -> Floats:
    """(x·y / d + 1)³, KID's kernel (Bińkowski et al. 2018)."""
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def gaussian_kernel(x: Floats, y: Floats, sigma: float = CMMD_SIGMA) -> Floats:
    """exp(−|x − y|² / 2σ²), CMMD's kernel."""
    squares = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2.0 * (x @ y.T)
    return np.exp(-np.clip(squares, 0.0, None) / (2.0 * sigma**2))


@dataclass(frozen=True)
class Discrepancy:
    """A squared discrepancy, its biased version, and an interval from leaving out one picture at a time.

    n, m: pictures used of either set; drawn: whether they were drawn from larger sets.
    """

    unbiased: float
    biased: float
    standard_error: float
    n: int
    m: int
    drawn: bool

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the normal interval around the unbiased estimate."""
        reach = float(stats.norm.ppf(0.5 + level / 2.0)) * self.standard_error
        return self.unbiased - reach, self.unbiased + reach


def discrepancy(x: ArrayLike, y: ArrayLike, kernel: Kernel, *, most: int = MOST_ROWS, seed: int = 0) -> Discrepancy:
    """Estimate the squared discrepancy of features (n, d) and (m, d), in float64.

    Of sets with more than ``most`` rows so many are drawn. Raises ``FeatureError`` for fewer than two rows, other
    shapes and values that are not finite.
    """
    if most < 2:
        raise FeatureError(f"a discrepancy needs at least 2 rows, not {most}")
    rng = np.random.default_rng(seed)
    first, second = (checked(_drawn(np.asanyarray(z), most, rng), name) for z, name in ((x, "x"), (y, "y")))
    if first.shape[1] != second.shape[1]:
        raise FeatureError(f"x has {first.shape[1]} dimensions, y has {second.shape[1]}")
    n, m = len(first), len(second)
    within_x, own_x = _row_sums(first, first, kernel, own=True)
    within_y, own_y = _row_sums(second, second, kernel, own=True)
    across, _ = _row_sums(first, second, kernel, own=False)
    across_y, _ = _row_sums(second, first, kernel, own=False)
    apart_x, apart_y, both = (within_x - own_x).sum(), (within_y - own_y).sum(), across.sum()
    unbiased = apart_x / (n * (n - 1)) + apart_y / (m * (m - 1)) - 2.0 * both / (n * m)
    biased = within_x.sum() / n**2 + within_y.sum() / m**2 - 2.0 * both / (n * m)
    variance = _jackknife(apart_x, within_x - own_x, both, across, n, m)
    variance += _jackknife(apart_y, within_y - own_y, both, across_y, m, n)
    drawn = n < len(np.asanyarray(x)) or m < len(np.asanyarray(y))
    return Discrepancy(float(unbiased), float(biased), math.sqrt(variance), n, m, drawn)


def _drawn(features: NDArray[np.floating], most: int, rng: np.random.Generator) -> NDArray[np.floating]:
    if features.ndim != 2 or len(features) <= most:
        return features
    return features[np.sort(rng.choice(len(features), most, replace=False))]


def _row_sums(x: Floats, y: Floats, kernel: Kernel, *, own: bool) -> tuple[Floats, Floats]:
    """Sum k(x_i, y_j) over j for each i, and return k(x_i, x_i) where ``own``; (n,) each."""
    sums, diagonal = np.zeros(len(x)), np.zeros(len(x))
    for start in range(0, len(x), BLOCK):
        rows = x[start : start + BLOCK]
        for other in range(0, len(y), BLOCK):
            part = kernel(rows, y[other : other + BLOCK])
            sums[start : start + BLOCK] += part.sum(axis=1)
            if own and other == start:
                diagonal[start : start + BLOCK] = np.diagonal(part)
    return sums, diagonal


def _jackknife(apart: float, apart_rows: Floats, both: float, across_rows: Floats, n: int, m: int) -> float:
    """Variance from leaving out each of n rows of one set, with the other set's m rows kept."""
    if n < 3:
        return math.nan
    without = (apart - 2.0 * apart_rows) / ((n - 1) * (n - 2)) - 2.0 * (both - across_rows) / ((n - 1) * m)
    return float((n - 1) / n * np.square(without - without.mean()).sum())


def kid(x: ArrayLike, y: ArrayLike, *, most: int = MOST_ROWS, seed: int = 0) -> Discrepancy:
    """Compute the Kernel Inception Distance of Inception features; the unbiased estimate is the metric."""
    return discrepancy(x, y, polynomial_kernel, most=most, seed=seed)


def cmmd(x: ArrayLike, y: ArrayLike, *, most: int = MOST_ROWS, seed: int = 0) -> Discrepancy:
    """Compute CMMD of CLIP image features, which are normalised here; the biased estimate × 1000 is the metric.

    All numbers of the result are multiplied by ``CMMD_SCALE``.
    """
    first, second = (_normalised(checked(z, name)) for z, name in ((x, "x"), (y, "y")))
    found = discrepancy(first, second, gaussian_kernel, most=most, seed=seed)
    return replace(
        found,
        unbiased=CMMD_SCALE * found.unbiased,
        biased=CMMD_SCALE * found.biased,
        standard_error=CMMD_SCALE * found.standard_error,
    )


def _normalised(features: Floats) -> Floats:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise FeatureError(f"row {int(np.argmin(lengths))} has length 0 and no direction")
    return features / lengths
