"""Fréchet distance between Gaussians fitted to features, without a matrix square root of a product.

The distance is the squared one, as for FID (Heusel et al. 2017; Dowson & Landau 1982):
``|μ₁−μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½``. With ``Σ₂ = L Lᵀ`` the last trace is the sum of the singular values of
``X₁ᶜ L / √(n₁−1)``, which are real and non-negative whatever the features. Statistics are float64 with ddof = 1.

All of it runs in numpy's BLAS: scipy brings a second one, and the threads of the two, waiting for work, take the cores
from each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenhand.errors import InputError
from evenhand.metrics.mapped import forget, rows_of

Floats = NDArray[np.float64]
Rows = Callable[[int, int], Floats]  # (start, stop) -> rows of a growing subset, float64
PRECISION = 1e-6  # relative, of a distance
SELF_TOLERANCE = 1e-6  # of both traces: how far below zero rounding may bring a distance (method §4.3)
BLOCK_BYTES = 2**24  # of features in float64, read at a time
BLOCK_ROWS = 2048  # of a subset, read at a time
KEPT_BYTES = 2**28  # P of 30,000 × 1024 is kept; P of millions is computed where it is needed


class FeatureError(InputError):
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
    """The Gaussian of a whole set, prepared so that subsets of it are compared quickly (method §4.3).

    With ``Σ = VΛVᵀ`` and ``P = (X−μ)VΛ^½`` a subset of n rows needs the singular values of its centred rows of P: the
    eigenvalues of an n×n (n ≤ d) or d×d Gram matrix. The features stay as they are given, a float32 memory map for
    example, and are read in blocks; P is kept where it is small, else the rows that are needed are computed.
    """

    def __init__(self, features: ArrayLike) -> None:
        self.features = _matrix(features)
        self.count, self.dimension = self.features.shape
        self.mean: Floats = np.zeros(self.dimension)
        for block in self._blocks():
            self.mean += _finite(block).values.sum(axis=0)
        self.mean /= self.count
        covariance = np.zeros((self.dimension, self.dimension))
        for block in self._blocks():
            centred = block.values - self.mean
            covariance += centred.T @ centred
        covariance /= self.count - 1
        self.trace = float(np.trace(covariance))
        values, self.vectors = np.linalg.eigh(covariance)  # V, columns by ascending variance
        self.variances: Floats = np.clip(values, 0.0, None)  # Λ
        self.factor: Floats = self.vectors * np.sqrt(self.variances)  # L: Σ = L Lᵀ
        self._projected: Floats | None = None
        if self.features.size * 8 <= KEPT_BYTES:
            projected = np.empty(self.features.shape)
            for block in self._blocks():
                projected[block.start : block.start + len(block.values)] = (block.values - self.mean) @ self.factor
            self._projected = projected

    @property
    def is_constant(self) -> bool:
        """Whether all rows are one point, to the rounding of their mean."""
        return self.trace <= 1e-24 * max(float(self.mean @ self.mean), np.finfo(np.float64).tiny)

    def _blocks(self) -> Iterator[_Block]:
        """The features in float64, so many rows at a time that a block stays small."""
        rows = max(1, BLOCK_BYTES // (8 * self.dimension))
        for start in range(0, self.count, rows):
            yield _Block(start, np.asarray(self.features[start : start + rows], dtype=np.float64))
            forget(self.features)

    def centred_rows(self, indices: NDArray[np.integer]) -> Floats:
        """``X − μ`` of these rows, float64."""
        return rows_of(self.features, indices).astype(np.float64) - self.mean

    def projected_rows(self, indices: NDArray[np.integer]) -> Floats:
        """These rows of P, float64."""
        return self.centred_rows(indices) @ self.factor if self._projected is None else self._projected[indices]

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
        return next(self.prefix_distances(chosen, [len(chosen)]))

    def distance_to(self, features: ArrayLike) -> float:
        """Squared Fréchet distance of other features (n, d) to the set."""
        other = checked(features)
        if other.shape[1] != self.dimension:
            raise FeatureError(f"features have {other.shape[1]} dimensions, the set has {self.dimension}")
        mean = other.mean(axis=0)
        centred, shift = other - mean, mean - self.mean
        trace = float(np.einsum("nd,nd->", centred, centred) / (len(other) - 1))
        rows = centred @ self.factor
        rows = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
        total = float(shift @ shift) + trace + self.trace
        return self._distance(total, _gram(rows), len(rows), lambda: rows)

    def prefix_distances(self, order: NDArray[np.integer], sizes: Sequence[int]) -> Iterator[float]:
        """Distances of the first n of ``order`` for each n of ``sizes`` (ascending): every row is read once."""
        return self.nested_distances(
            sizes,
            lambda start, stop: self.centred_rows(order[start:stop]),
            lambda start, stop: self.projected_rows(order[start:stop]),
        )

    def nested_distances(self, sizes: Sequence[int], centred: Rows, projected: Rows) -> Iterator[float]:
        """Distances of growing prefixes of rows that ``centred`` (X − μ) and ``projected`` (P) give span by span.

        Up to d rows the n×n Gram matrices are leading blocks of one; beyond, the d×d one grows by the rows added.
        """
        sums = _Sums(self.dimension)
        for n, gram in zip(sizes, self._grams(sizes, projected), strict=True):
            for start in range(sums.count, n, BLOCK_ROWS):
                sums.add(centred(start, min(start + BLOCK_ROWS, n)))
            mean_term = float(sums.shift @ sums.shift) / n**2
            trace = (sums.squares - n * mean_term) / (n - 1)

            def rows(n: int = n) -> Floats:
                whole = projected(0, n)
                return (whole - whole.mean(axis=0)) / np.sqrt(n - 1)

            yield self._distance(mean_term + trace + self.trace, gram, n, rows)

    def _grams(self, sizes: Sequence[int], projected: Rows) -> Iterator[Floats]:
        """The smaller Gram matrix of the centred rows over n − 1, for each size."""
        narrow = [n for n in sizes if n <= self.dimension]
        if narrow:
            head = projected(0, narrow[-1])
            gram = head @ head.T
            for n in narrow:
                part = gram[:n, :n]
                means = part.mean(axis=0)
                yield (part - means - means[:, None] + means.mean()) / (n - 1)
        growing, total, reached = np.zeros((self.dimension, self.dimension)), np.zeros(self.dimension), 0
        for n in sizes[len(narrow) :]:
            for start in range(reached, n, BLOCK_ROWS):
                block = projected(start, min(start + BLOCK_ROWS, n))
                growing += block.T @ block
                total += block.sum(axis=0)
            reached = n
            yield (growing - np.outer(total, total / n)) / (n - 1)

    def _distance(self, total: float, gram: Floats, n: int, rows: Callable[[], Floats]) -> float:
        root, error = _root_of(gram, wide=n <= self.dimension)
        distance = total - 2.0 * root
        # Squaring the singular values loses half of the digits of the small ones: where that could be seen in the
        # distance (sets of nearly equal statistics, features of low rank), the values themselves are computed.
        if 2.0 * error > PRECISION * abs(distance):
            distance = total - 2.0 * float(np.linalg.svd(rows(), compute_uv=False).sum())
        return 0.0 if -SELF_TOLERANCE * total <= distance < 0.0 else distance  # of a set to itself, by rounding

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
        pool: NDArray[np.integer] | None = None,
    ) -> Floats:
        """Distances (sizes, draws) of random subsets; the sizes of one draw are prefixes of one permutation.

        ``pool``: the rows that subsets are drawn from, where it is not all of them.
        """
        rows = np.arange(self.count) if pool is None else pool
        for size in sizes:
            if not 2 <= size <= len(rows):
                raise FeatureError(f"a subset of {size} cannot be drawn from {len(rows)} rows")
        places = np.argsort(sizes, kind="stable")
        ascending = [sizes[place] for place in places]
        distances = np.empty((len(sizes), draws))
        for draw in range(draws):
            order = rows[rng.permutation(len(rows))]
            for done, distance in enumerate(self.prefix_distances(order, ascending)):
                distances[places[done], draw] = distance
                if progress is not None:
                    progress(draw * len(sizes) + done + 1, draws * len(sizes))
        return distances


@dataclass(frozen=True)
class _Block:
    """Consecutive rows in float64, from row ``start`` on."""

    start: int
    values: Floats


@dataclass
class _Sums:
    """Running sums over rows of X − μ."""

    dimension: int
    count: int = 0
    squares: float = 0.0

    def __post_init__(self) -> None:
        self.shift: Floats = np.zeros(self.dimension)

    def add(self, rows: Floats) -> None:
        self.count += len(rows)
        self.shift += rows.sum(axis=0)
        self.squares += float(np.einsum("nd,nd->", rows, rows))


def _matrix(features: ArrayLike) -> NDArray[np.floating]:
    """Features (N, d) of at least two rows as they are, whole numbers as float64; what is not finite is found later."""
    array = np.asanyarray(features)
    if array.dtype.kind != "f":
        array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] < 1 or len(array) < 2:
        checked(array)  # says what is wrong
    return array


def _finite(block: _Block) -> _Block:
    finite = np.isfinite(block.values).all(axis=1)
    if not finite.all():
        first = block.start + int(np.argmin(finite))
        raise FeatureError(f"features: row {first} is not finite ({int((~finite).sum())} such rows near it)")
    return block


def _gram(rows: Floats) -> Floats:
    return rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows


def _root_of(gram: Floats, *, wide: bool) -> tuple[float, float]:
    """tr G^½ of a Gram matrix, and a bound on its error; ``wide``: of rows that sum to zero, one a dimension of G.

    An eigenvalue λ is known to δ, a few ulps of the largest; its root then to δ/(2√λ), or √δ where λ is lost in δ.
    """
    values = np.clip(np.linalg.eigvalsh(gram), 0.0, None)
    if wide:
        values = values[1:]  # the rows sum to zero, so the smallest eigenvalue is exactly that
    roots: Floats = np.sqrt(values)
    delta = 4.0 * np.finfo(np.float64).eps * float(values[-1])
    errors = delta / np.maximum(2.0 * roots, np.sqrt(delta)) if delta > 0.0 else np.zeros(1)
    return float(roots.sum()), float(errors.sum())
