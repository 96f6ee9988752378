"""The Gaussian twin of a prompt set: what the Fréchet curve would be if the features were normal.

The distance of a subset to its whole falls with the subset's size for a set of any shape; that is finite-sample bias.
The twin is a population of N normal vectors with exactly the set's own mean and covariance. Subsets of it show how much
of a curve that bias is. The population itself is never made: given n of its rows, all the others enter only by their
sum and their scatter, which have known distributions (normal, Wishart).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from evenhand.errors import InputError
from evenhand.metrics.frechet import Floats, FrechetReference


def whitened_rows(count: int, dimension: int, n: int, rng: np.random.Generator) -> Floats:
    """``n`` rows of a normal population of ``count`` whose sample mean is exactly 0 and whose covariance exactly I."""
    if not 2 <= n <= count or dimension > count - 1:
        raise InputError(f"{n} rows of {count} in {dimension} dimensions have no whitened population")
    drawn = n if count - n > dimension else count  # few others are simply drawn, many are summed up
    rows = rng.standard_normal((drawn, dimension))
    others = count - drawn
    middle = rng.standard_normal(dimension) / np.sqrt(others) if others else np.zeros(dimension)
    mean = (rows.sum(axis=0) + others * middle) / count
    rows -= mean
    scatter = rows.T @ rows + others * np.outer(middle - mean, middle - mean)
    if others:
        triangle = _wishart_factor(others - 1, dimension, rng)
        scatter += triangle @ triangle.T
    lower = linalg.cholesky(scatter / (count - 1), lower=True)
    white: Floats = linalg.solve_triangular(lower, rows[:n].T, lower=True, overwrite_b=True).T
    return white


def _wishart_factor(freedom: int, dimension: int, rng: np.random.Generator) -> Floats:
    """A lower triangle T with ``T Tᵀ`` Wishart(I) (Bartlett's decomposition); needs ``freedom ≥ dimension``."""
    factor = np.tril(rng.standard_normal((dimension, dimension)), -1)
    np.fill_diagonal(factor, np.sqrt(rng.chisquare(freedom - np.arange(dimension))))
    return factor


def twin_distances(reference: FrechetReference, sizes: Sequence[int], rng: np.random.Generator) -> Iterator[float]:
    """Distances of nested subsets (ascending sizes) of the reference's Gaussian twin to its whole."""
    variances = reference.variances
    live: NDArray[np.bool_] = variances > 1e-13 * variances[-1]
    spread = variances[live][::-1][: reference.count - 1]  # N rows span at most N − 1 dimensions
    white = whitened_rows(reference.count, len(spread), sizes[-1], rng)

    def padded(rows: Floats) -> Floats:
        return np.pad(rows, ((0, 0), (0, reference.dimension - rows.shape[1])))

    yield from reference.nested_distances(
        sizes,
        lambda start, stop: padded(white[start:stop] * np.sqrt(spread)),
        lambda start, stop: padded(white[start:stop] * spread),
    )
