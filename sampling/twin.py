"""Compute the Fréchet curve of a prompt set's Gaussian twin, as if its features were normal.

The distance of a subset to the whole set falls with the subset's size for any distribution (finite-sample bias). The
twin is a population of N normal vectors with exactly the set's mean and covariance; distances of its subsets measure
this bias. The population is never generated in full: given n of its rows, the other rows enter only through their sum
and their scatter, whose distributions are known (normal, Wishart).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from evenhand.errors import InputError
from evenhand.metrics.frechet import Floats, FrechetReference


def whitened_rows(count: int, dimension: int, n: int, rng: np.random.Generator) -> Floats:
    """Draw ``n`` rows of a normal population of ``count`` whose sample mean is exactly 0 and whose covariance is I."""
    if not 2 <= n <= count or dimension > count - 1:
        raise InputError(f"{n} rows of {count} in {dimension} dimensions have no whitened population")
    row_count = n if count - n > dimension else count  # few other rows are drawn too, many are replaced by their sums
    rows = rng.standard_normal((row_count, dimension))
    other_count = count - row_count
    others_mean = rng.standard_normal(dimension) / np.sqrt(other_count) if other_count else np.zeros(dimension)
    mean = (rows.sum(axis=0) + other_count * others_mean) / count
    rows -= mean
    scatter = rows.T @ rows + other_count * np.outer(others_mean - mean, others_mean - mean)
    if other_count:
        triangle = _wishart_factor(other_count - 1, dimension, rng)
        scatter += triangle @ triangle.T
    lower = linalg.cholesky(scatter / (count - 1), lower=True)
    white_rows: Floats = linalg.solve_triangular(lower, rows[:n].T, lower=True, overwrite_b=True).T
    return white_rows


def _wishart_factor(freedom: int, dimension: int, rng: np.random.Generator) -> Floats:
    """Draw a lower triangle T with ``T Tᵀ`` Wishart(I) (Bartlett's decomposition); needs ``freedom ≥ dimension``."""
    factor = np.tril(rng.standard_normal((dimension, dimension)), -1)
    np.fill_diagonal(factor, np.sqrt(rng.chisquare(freedom - np.arange(dimension))))
    return factor


def twin_distances(reference: FrechetReference, sizes: Sequence[int], rng: np.random.Generator) -> Iterator[float]:
    """Yield distances of nested subsets (ascending sizes) of the reference's Gaussian twin to the whole twin."""
    variances = reference.variances
    is_positive: NDArray[np.bool_] = variances > 1e-13 * variances[-1]
    positive_variances = variances[is_positive][::-1][: reference.count - 1]  # N rows span at most N − 1 dimensions
    white_rows = whitened_rows(reference.count, len(positive_variances), sizes[-1], rng)

    def padded(rows: Floats) -> Floats:
        return np.pad(rows, ((0, 0), (0, reference.dimension - rows.shape[1])))

    yield from reference.nested_distances(
        sizes,
        lambda start, stop: padded(white_rows[start:stop] * np.sqrt(positive_variances)),
        lambda start, stop: padded(white_rows[start:stop] * positive_variances),
    )
