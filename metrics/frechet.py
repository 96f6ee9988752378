"""Compute Fréchet distances between Gaussians fitted to features, without a matrix square root.

The distance is the squared one, as for FID (Heusel et al. 2017; Dowson & Landau 1982):
``|μ₁−μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½``. With ``Σ₂ = L Lᵀ`` the last trace is the sum of the singular values of
``X₁ᶜ L / √(n₁−1)``, which are real and non-negative whatever the features. Statistics are float64 with ddof = 1.

All linear algebra uses numpy's BLAS. scipy has its own BLAS, and the waiting threads of both would compete for the
cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenhand.errors import InputError
from evenhand.metrics.gaussian import Gaussian, GaussianSums
from evenhand.metrics.mapped import forget, rows_of

Floats = NDArray[np.float64]
Rows = Callable[[int, int], Floats]  # reads rows start to stop of a growing subset, float64
PRECISION = 1e-6  # relative, of a distance
SELF_TOLERANCE = 1e-6  # of both traces: how far below zero rounding may bring a distance (method §4.3)
BLOCK_BYTES = 2**24  # of features in float64, read at a time
BLOCK_ROWS = 2048  # of a subset, read at a time
KEPT_BYTES = 2**28  # P is stored up to this size (30,000 × 1024), and else computed when it is needed


class FeatureError(InputError):
    """No Gaussian can be fitted to the features; the message says why."""


def checked(features: ArrayLike, name: str = "features") -> Floats:
    """Return features as float64 (N, d); ``FeatureError`` for other shapes, fewer than two rows, NaN or infinity."""
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] < 1:
        raise FeatureError(f"{name} must be an (N, d) array, not of shape {array.shape}")
    if len(array) < 2:
        raise FeatureError(f"{name}: a covariance needs at least 2 rows, there are {len(array)}")
    is_finite = np.isfinite(array).all(axis=1)
    if not is_finite.all():
        raise FeatureError(
            f"{name}: row {int(np.argmin(is_finite))} is not finite ({int((~is_finite).sum())} such rows)"
        )
    return array


def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Compute the squared Fréchet distance between the Gaussians of features (N, d) and (M, d)."""
    first, second = checked(x, "x"), checked(y, "y")
    if first.shape[1] != second.shape[1]:
        raise FeatureError(f"x has {first.shape[1]} dimensions, y has {second.shape[1]}")
    return FrechetReference(second).distance_to(first)


class FrechetTarget:
    """A Gaussian, prepared so that many sets of features are compared with it (method §4.3).

    With ``Σ = VΛVᵀ`` and ``P = (X−μ)VΛ^½`` a set of n rows needs the singular values of its centred rows of P: the
    eigenvalues of an n×n (n ≤ d) or d×d Gram matrix.
    """

    def __init__(self, gaussian: Gaussian) -> None:
        self.count, self.mean = gaussian.count, gaussian.mean
        self.dimension = len(gaussian.mean)
        self.trace = float(np.trace(gaussian.covariance))
        values, self.vectors = np.linalg.eigh(gaussian.covariance)  # V, columns by ascending variance
        self.variances: Floats = np.clip(values, 0.0, None)  # Λ
        self.factor: Floats = self.vectors * np.sqrt(self.variances)  # L: Σ = L Lᵀ

    @property
    def is_constant(self) -> bool:
        """Whether all rows are equal, up to the rounding of their mean."""
        return self.trace <= 1e-24 * max(float(self.mean @ self.mean), np.finfo(np.float64).tiny)

    def distance_to(self, features: ArrayLike) -> float:
        """Compute the squared Fréchet distance of features (n, d), read in blocks, so that they may be mapped."""
        return self.distances_to(features, np.arange(len(np.asanyarray(features))), None)[0]

    def distances_to(self, features: ArrayLike, order: NDArray[np.integer], sizes: Sequence[int] | None) -> list[float]:
        """Compute the squared distances of the first n rows of ``order`` for each n of ``sizes`` (ascending).

        sizes: all rows of ``order`` if None.
        """
        array = _matrix(features)
        if array.shape[1] != self.dimension:
            raise FeatureError(f"features have {array.shape[1]} dimensions, the set has {self.dimension}")
        if len(order) < 2:
            checked(array[: len(order)])  # raises the error

        def read(start: int, stop: int) -> Floats:
            return _finite(_Block(start, rows_of(array, order[start:stop]).astype(np.float64))).values

        first = read(0, min(BLOCK_ROWS, len(order))).mean(axis=0)
        mean = first + sum((read(*span) - first).sum(axis=0) for span in _spans(len(order))) / len(order)
        return list(
            self.nested_distances(
                sizes or [len(order)],
                lambda start, stop: read(start, stop) - mean,
                lambda start, stop: (read(start, stop) - mean) @ self.factor,
                offset=mean - self.mean,
            )
        )

    def nested_distances(
        self, sizes: Sequence[int], read_centred: Rows, read_projected: Rows, offset: Floats | float = 0.0
    ) -> Iterator[float]:
        """Yield distances of growing prefixes of rows; the two functions read spans of X − c and of (X − c)·L.

        offset: c − μ, with c near the rows' own mean, so that nothing is lost by taking that off afterwards. Up to d
        rows the n×n Gram matrices are leading blocks of one matrix; beyond that the rows add to a d×d one.
        """
        sums = _Sums(self.dimension)
        for n, gram in zip(sizes, self._grams(sizes, read_projected), strict=True):
            for start in range(sums.count, n, BLOCK_ROWS):
                sums.add(read_centred(start, min(start + BLOCK_ROWS, n)))
            own_mean = sums.shift / n
            trace = (sums.squares - n * float(own_mean @ own_mean)) / (n - 1)
            mean_term = float(np.square(offset + own_mean).sum())
            total = mean_term + trace + self.trace
            yield self._distance(total, gram, n, lambda n=n: _singular_values(n, read_projected))  # type: ignore[misc]

    def _grams(self, sizes: Sequence[int], read_projected: Rows) -> Iterator[Floats]:
        """Yield for each size the smaller Gram matrix of the centred rows over n − 1."""
        small_sizes = [n for n in sizes if n <= self.dimension]
        if small_sizes:
            head = read_projected(0, small_sizes[-1])
            gram = head @ head.T
            for n in small_sizes:
                part = gram[:n, :n]
                means = part.mean(axis=0)
                yield (part - means - means[:, None] + means.mean()) / (n - 1)
        scatter, row_sum, row_count = np.zeros((self.dimension, self.dimension)), np.zeros(self.dimension), 0
        for n in sizes[len(small_sizes) :]:
            for start in range(row_count, n, BLOCK_ROWS):
                block = read_projected(start, min(start + BLOCK_ROWS, n))
                scatter += block.T @ block
                row_sum += block.sum(axis=0)
            row_count = n
            yield (scatter - np.outer(row_sum, row_sum / n)) / (n - 1)

    def _distance(self, total: float, gram: Floats, n: int, singular_values: Callable[[], Floats]) -> float:
        root, error = _root_of(gram, wide=n <= self.dimension)
        distance = total - 2.0 * root
        # A Gram matrix holds the squares of the singular values, which halves the digits of the small ones. Where this
        # would affect the distance (nearly equal statistics, low rank), the singular values are computed directly.
        if 2.0 * error > PRECISION * abs(distance):
            distance = total - 2.0 * float(singular_values().sum())
        return 0.0 if -SELF_TOLERANCE * total <= distance < 0.0 else distance  # rounding of a distance of 0


class FrechetReference(FrechetTarget):
    """The Gaussian of a whole set, whose subsets are compared with it.

    The features are not copied, so that they may be a float32 memory map, and are read in blocks. P is stored if it is
    small; else its rows are computed when needed.
    """

    def __init__(self, features: ArrayLike) -> None:
        self.features = _matrix(features)
        sums = GaussianSums(self.features.shape[1])
        for block in self._blocks():
            sums.add(_finite(block).values)
        super().__init__(sums.gaussian())
        self._projected: Floats | None = None
        if self.features.size * 8 <= KEPT_BYTES:
            projected = np.empty(self.features.shape)
            for block in self._blocks():
                projected[block.start : block.start + len(block.values)] = (block.values - self.mean) @ self.factor
            self._projected = projected

    def _blocks(self) -> Iterator[_Block]:
        """Yield the features in float64, in blocks of at most ``BLOCK_BYTES``."""
        count, dimension = self.features.shape
        rows = max(1, BLOCK_BYTES // (8 * dimension))
        for start in range(0, count, rows):
            yield _Block(start, np.asarray(self.features[start : start + rows], dtype=np.float64))
            forget(self.features)

    def centred_rows(self, indices: NDArray[np.integer]) -> Floats:
        """Return ``X − μ`` of these rows, float64."""
        return rows_of(self.features, indices).astype(np.float64) - self.mean

    def projected_rows(self, indices: NDArray[np.integer]) -> Floats:
        """Return these rows of P, float64."""
        return self.centred_rows(indices) @ self.factor if self._projected is None else self._projected[indices]

    def distance(self, indices: ArrayLike) -> float:
        """Compute the squared Fréchet distance of the subset with these row indices to the whole set."""
        row_indices = np.asarray(indices)
        if row_indices.ndim != 1 or len(row_indices) < 2:
            raise FeatureError(f"a subset needs at least 2 rows, {row_indices.size} are given")
        if row_indices.dtype.kind not in "iu":
            raise FeatureError(f"row indices must be whole numbers, not {row_indices.dtype}")
        if row_indices.min() < 0 or row_indices.max() >= self.count:
            bad_index = row_indices[(row_indices < 0) | (row_indices >= self.count)][0]
            raise FeatureError(f"there is no row {bad_index}; the rows are 0 to {self.count - 1}")
        return next(self.prefix_distances(row_indices, [len(row_indices)]))

    def prefix_distances(self, order: NDArray[np.integer], sizes: Sequence[int]) -> Iterator[float]:
        """Yield distances of the first n of ``order`` for each n of ``sizes`` (ascending); every row is read once."""
        return self.nested_distances(
            sizes,
            lambda start, stop: self.centred_rows(order[start:stop]),
            lambda start, stop: self.projected_rows(order[start:stop]),
        )

    def expected_mean_term(self, n: int) -> float:
        """Compute E |m_n − μ|² of a random subset without replacement: (1/n − 1/N) tr Σ."""
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
        """Compute distances (sizes, draws) of random subsets; the sizes of one draw are prefixes of one permutation.

        ``pool``: the rows that may be drawn, if not all.
        """
        rows = np.arange(self.count) if pool is None else pool
        for size in sizes:
            if not 2 <= size <= len(rows):
                raise FeatureError(f"a subset of {size} cannot be drawn from {len(rows)} rows")
        size_positions = np.argsort(sizes, kind="stable")
        ascending = [sizes[place] for place in size_positions]
        distances = np.empty((len(sizes), draws))
        for draw in range(draws):
            order = rows[rng.permutation(len(rows))]
            for step, distance in enumerate(self.prefix_distances(order, ascending)):
                distances[size_positions[step], draw] = distance
                if progress is not None:
                    progress(draw * len(sizes) + step + 1, draws * len(sizes))
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
    """Check the shape of features (N, d) without a copy; integers become float64. ``_finite`` checks the values."""
    array = np.asanyarray(features)
    if array.dtype.kind != "f":
        array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] < 1 or len(array) < 2:
        checked(array)  # raises the error
    return array


def _finite(block: _Block) -> _Block:
    is_finite = np.isfinite(block.values).all(axis=1)
    if not is_finite.all():
        first_row = block.start + int(np.argmin(is_finite))
        raise FeatureError(f"features: row {first_row} is not finite ({int((~is_finite).sum())} such rows near it)")
    return block


def _spans(n: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK_ROWS, n)) for start in range(0, n, BLOCK_ROWS)]


def _singular_values(n: int, read_projected: Rows) -> Floats:
    """Compute the singular values of n centred rows of P over √(n − 1), which are read twice in blocks.

    The triangular factor of the rows read so far stands for them, so that memory does not grow with n.
    """
    mean = sum(read_projected(*span).sum(axis=0) for span in _spans(n)) / n
    triangle: Floats | None = None
    for span in _spans(n):
        rows = read_projected(*span) - mean
        triangle = rows if triangle is None else np.asarray(np.linalg.qr(np.vstack([triangle, rows]), mode="r"))
    assert triangle is not None
    values: Floats = np.linalg.svd(triangle, compute_uv=False) / np.sqrt(n - 1)
    return values


def _root_of(gram: Floats, *, wide: bool) -> tuple[float, float]:
    """Compute tr G^½ of a Gram matrix and a bound on its error; ``wide``: G is (n, n) of n rows that sum to zero.

    An eigenvalue λ is known to δ, a few ulps of the largest; its root then to δ/(2√λ), or √δ where λ is lost in δ.
    """
    values = np.clip(np.linalg.eigvalsh(gram), 0.0, None)
    if wide:
        values = values[1:]  # the rows sum to zero, so the smallest eigenvalue is exactly zero
    roots: Floats = np.sqrt(values)
    delta = 4.0 * np.finfo(np.float64).eps * float(values[-1])
    errors = delta / np.maximum(2.0 * roots, np.sqrt(delta)) if delta > 0.0 else np.zeros(1)
    return float(roots.sum()), float(errors.sum())
