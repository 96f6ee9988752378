"""Fréchet distance between Gaussians fitted to features, without a matrix square root of a product.

The distance is the squared one, as for FID (Heusel et al. 2017; Dowson & Landau 1982):
``|μ₁−μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½``. With ``Σ₂ = L Lᵀ`` the last trace is the sum of the singular values of
``X₁ᶜ L / √(n₁−1)``, which are real and non-negative whatever the features. Statistics are float64 with ddof = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

Floats = NDArray[np.float64]
PRECISION = 1e-6  # relative, of a distance


class FeatureError(ValueError):
    """Features that no Gaussian can be fitted to; the message says what is wrong with them."""


def checked(features: ArrayLike, name: str = "features") -> Floats:
    """Features as float64 (N, d); ``FeatureError`` for other shapes, fewer than two rows, NaN or infinity."""
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] < 1:
        raise FeatureError(f"{name} must be an (N, d) array, not of shape {array.shape}")
    if len(array) < 2:
        raise FeatureError(f"{name}: a covariance needs at least 2 rows, there are {len(array)}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise FeatureError(f"{name}: row {int(np.argmin(finite))} is not finite ({int((~finite).sum())} such rows)")
    return array


def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Squared Fréchet distance between the Gaussians of features (N, d) and (M, d)."""
    first, second = checked(x, "x"), checked(y, "y")
    if first.shape[1] != second.shape[1]:
        raise FeatureError(f"x has {first.shape[1]} dimensions, y has {second.shape[1]}")
    return FrechetReference(second).distance_to(first)


class FrechetReference:
    """The Gaussian of a whole set, prepared so that subsets of it are compared quickly (METHOD §3 step 3).

    With ``Σ = VΛVᵀ`` and ``P = (X−μ)VΛ^½`` precomputed, a subset of n rows needs the singular values of its centred
    rows of P: the eigenvalues of an n×n (n ≤ d) or d×d Gram matrix.
    """

    def __init__(self, features: ArrayLike) -> None:
        self.features = checked(features)
        self.count, self.dimension = self.features.shape
        self.mean: Floats = self.features.mean(axis=0)
        centred = self.features - self.mean
        covariance = centred.T @ centred / (self.count - 1)
        self.trace = float(np.trace(covariance))
        values, vectors = linalg.eigh(covariance)
        self.factor: Floats = vectors * np.sqrt(np.clip(values, 0.0, None))  # L: Σ = L Lᵀ
        self.projected: Floats = centred @ self.factor  # P
        self.squares: Floats = np.einsum("nd,nd->n", centred, centred)

    def distance(self, indices: ArrayLike) -> float:
        """Squared Fréchet distance of the subset with these row indices to the whole set."""
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or len(chosen) < 2:
            raise FeatureError(f"a subset needs at least 2 rows, {chosen.size} are given")
        if chosen.dtype.kind not in "iu":
            raise FeatureError(f"row indices must be whole numbers, not {chosen.dtype}")
        if chosen.min() < 0 or chosen.max() >= self.count:
            wrong = chosen[(chosen < 0) | (chosen >= self.count)][0]
            raise FeatureError(f"there is no row {wrong}; the rows are 0 to {self.count - 1}")
        n = len(chosen)
        shift = self.features[chosen].mean(axis=0) - self.mean
        mean_term = float(shift @ shift)
        trace = float((self.squares[chosen].sum() - n * mean_term) / (n - 1))
        return self._distance(self.projected[chosen], mean_term, trace)

    def distance_to(self, features: ArrayLike) -> float:
        """Squared Fréchet distance of other features (n, d) to the set."""
        other = checked(features)
        if other.shape[1] != self.dimension:
            raise FeatureError(f"features have {other.shape[1]} dimensions, the set has {self.dimension}")
        mean = other.mean(axis=0)
        centred, shift = other - mean, mean - self.mean
        trace = float(np.einsum("nd,nd->", centred, centred) / (len(other) - 1))
        return self._distance(centred @ self.factor, float(shift @ shift), trace)

    def _distance(self, projected: Floats, mean_term: float, trace: float) -> float:
        rows = (projected - projected.mean(axis=0)) / np.sqrt(len(projected) - 1)
        total = mean_term + trace + self.trace
        root, error = trace_of_root(rows)
        distance = total - 2.0 * root
        # Squaring the singular values loses half of the digits of the small ones: where that could be seen in the
        # distance (sets of nearly equal statistics, features of low rank), the values themselves are computed.
        if 2.0 * error > PRECISION * abs(distance):
            distance = total - 2.0 * float(linalg.svdvals(rows, check_finite=False).sum())
        return distance

    def expected_mean_term(self, n: int) -> float:
        """E |m_n − μ|² of a random subset without replacement: (1/n − 1/N) tr Σ."""
        if not 1 <= n <= self.count:
            raise FeatureError(f"a subset of {n} cannot be drawn from {self.count} rows")
        return (1.0 / n - 1.0 / self.count) * self.trace

    def curve(
        self,
        sizes: Sequence[int],
        draws: int,
        rng: np.random.Generator,
        progress: Callable[[int, int], None] | None = None,
    ) -> Floats:
        """Distances (sizes, draws) of random subsets; the sizes of one draw are prefixes of one permutation."""
        for size in sizes:
            if not 2 <= size <= self.count:
                raise FeatureError(f"a subset of {size} cannot be drawn from {self.count} rows")
        distances = np.empty((len(sizes), draws))
        for draw in range(draws):
            order = rng.permutation(self.count)
            for i, size in enumerate(sizes):
                distances[i, draw] = self.distance(order[:size])
                if progress is not None:
                    progress(draw * len(sizes) + i + 1, draws * len(sizes))
        return distances


def trace_of_root(rows: Floats) -> tuple[float, float]:
    """Sum of the singular values of centred (n, d) rows from the smaller Gram matrix, and a bound on its error.

    An eigenvalue λ is known to δ, a few ulps of the largest; its root then to δ/(2√λ), or √δ where λ is lost in δ.
    """
    wide = len(rows) <= rows.shape[1]
    gram = rows @ rows.T if wide else rows.T @ rows
    values = np.clip(linalg.eigvalsh(gram, check_finite=False, overwrite_a=True), 0.0, None)
    if wide:
        values = values[1:]  # the rows sum to zero, so the smallest eigenvalue is exactly that
    roots: Floats = np.sqrt(values)
    delta = 4.0 * np.finfo(np.float64).eps * float(values[-1])
    errors = delta / np.maximum(2.0 * roots, np.sqrt(delta)) if delta > 0.0 else np.zeros(1)
    return float(roots.sum()), float(errors.sum())
