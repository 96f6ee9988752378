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
    first = checked(x, "x")
    reference = FrechetReference(y)
    if first.shape[1] != reference.dimension:
        raise FeatureError(f"x has {first.shape[1]} dimensions, y has {reference.dimension}")
    return reference.distance_to(first)


class FrechetReference:
    """The Gaussian of a whole set, prepared so that subsets of it are compared quickly (METHOD §3 step 3).

    With ``Σ = VΛVᵀ`` and ``P = (X−μ)VΛ^½`` precomputed, a subset of n rows needs the singular values of its centred rows
    of P: the eigenvalues of an n×n (n ≤ d) or d×d Gram matrix.
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
        n = len(chosen)
        shift = self.features[chosen].mean(axis=0) - self.mean
        mean_term = float(shift @ shift)
        trace = float((self.squares[chosen].sum() - n * mean_term) / (n - 1))
        return self._distance(self.projected[chosen], mean_term, trace)

    def distance_to(self, features: Floats) -> float:
        """Squared Fréchet distance of other features, float64 (n, d), to the set."""
        centred = features - features.mean(axis=0)
        shift = features.mean(axis=0) - self.mean
        trace = float(np.einsum("nd,nd->", centred, centred) / (len(features) - 1))
        return self._distance(centred @ self.factor, float(shift @ shift), trace)

    def _distance(self, projected: Floats, mean_term: float, trace: float) -> float:
        rows = (projected - projected.mean(axis=0)) / np.sqrt(len(projected) - 1)
        total = mean_term + trace + self.trace
        root = trace_of_root(rows)
        distance = total - 2.0 * root
        # Squaring the singular values loses half of the digits: where the result is small against its terms,
        # the values themselves are computed.
        if abs(distance) < 1e-5 * total:
            distance = total - 2.0 * float(linalg.svdvals(rows, check_finite=False).sum())
        return distance

    def expected_mean_term(self, n: int) -> float:
        """E |m_n − μ|² of a random subset without replacement: (1/n − 1/N) tr Σ."""
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


def trace_of_root(rows: Floats) -> float:
    """Sum of the singular values of (n, d) rows, from the smaller Gram matrix."""
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    values = linalg.eigvalsh(gram, check_finite=False, overwrite_a=True)
    return float(np.sqrt(np.clip(values, 0.0, None)).sum())
