"""Compute Fréchet distances of random subsets to the whole set (paper Fig. 10, method §4.4, §4.5).

A curve can contain three families of distances: of random draws (the paper's), of representative draws, and of draws
from the set's Gaussian twin, which show how much of the curve is finite-sample bias.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenhand.metrics.frechet import FeatureError, FrechetReference
from evenhand.sampling.draws import DRAWS, SubsetError, random_subset
from evenhand.sampling.representative import representative_subset
from evenhand.sampling.twin import twin_distances

__all__ = [
    "DRAWS",
    "FrechetCurve",
    "SubsetError",
    "draw_subset",
    "frechet_curve",
    "random_subset",
    "smallest_size_under",
]

Table = tuple[tuple[float, ...], ...]  # (sizes, draws); () if that family was not computed


@dataclass(frozen=True)
class FrechetCurve:
    """Distances over subset sizes and draws, with the exact expectation of the mean term."""

    count: int
    sizes: tuple[int, ...]
    distances: Table  # of random draws
    mean_term: tuple[float, ...]  # E |m_n − μ|² = (1/n − 1/N) tr Σ
    representative: Table = ()
    gaussian: Table = ()

    def family(self, draw: str) -> FrechetCurve:
        """Return the curve with the distances of one way of drawing."""
        if draw not in DRAWS:
            raise SubsetError(f"{draw!r} is none of {', '.join(DRAWS)}")
        if draw == "random":
            return self
        if not self.representative:
            raise SubsetError("the curve holds no representative draws")
        return replace(self, distances=self.representative)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over draws, (sizes,)."""
        return np.asarray(self.distances).mean(axis=1)

    @property
    def spread(self) -> NDArray[np.float64]:
        """Standard deviation over draws, (sizes,); 0 for a single draw."""
        array = np.asarray(self.distances)
        return array.std(axis=1, ddof=1) if array.shape[1] > 1 else np.zeros(len(array))

    def to_dict(self) -> dict[str, Any]:
        """Convert the curve to plain JSON values."""
        return {
            "count": self.count,
            "sizes": list(self.sizes),
            "distances": [list(row) for row in self.distances],
            "mean_term": list(self.mean_term),
            "representative": [list(row) for row in self.representative],
            "gaussian": [list(row) for row in self.gaussian],
        }

    def to_csv(self) -> str:
        """Format one line per distance, with the way of drawing and the expected mean term."""
        lines = ["count,size,drawn,draw,distance,expected_mean_term"]
        tables = (("random", self.distances), ("representative", self.representative), ("gaussian", self.gaussian))
        for family, table in tables:
            for size, expected, row in zip(self.sizes, self.mean_term, table or [()] * len(self.sizes), strict=True):
                lines += [f"{self.count},{size},{family},{i},{value!r},{expected!r}" for i, value in enumerate(row)]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FrechetCurve:
        """Read what ``to_dict`` wrote."""
        return cls(
            int(data["count"]),
            tuple(data["sizes"]),
            tuple(tuple(row) for row in data["distances"]),
            tuple(data["mean_term"]),
            *(tuple(tuple(row) for row in data.get(name, ())) for name in ("representative", "gaussian")),
        )


def draw_subset(
    draw: str,
    reference: FrechetReference,
    size: int,
    seed: int,
    *,
    pool: NDArray[np.intp] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.intp]:
    """Draw a random or a representative subset, sorted row indices; ``pool``: the rows that may be drawn."""
    if draw not in DRAWS:
        raise SubsetError(f"{draw!r} is none of {', '.join(DRAWS)}")
    if draw == "representative":
        return representative_subset(reference, size, seed, pool=pool, progress=progress)
    rows = np.arange(reference.count) if pool is None else pool
    return rows[random_subset(len(rows), size, seed)]


def frechet_curve(
    reference: FrechetReference,
    sizes: Sequence[int],
    draws: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    *,
    pool: NDArray[np.intp] | None = None,
    representative_draws: int = 0,
    gaussian_draws: int = 0,
) -> FrechetCurve:
    """Compute distances of subsets over ``sizes``; the sizes of one random draw are prefixes of one permutation.

    The first random draw is ``random_subset`` of the seed, and the first representative one ``representative_subset``
    of the same seed. ``pool``: the rows that may be drawn, if not all.
    """
    if draws < 1:
        raise SubsetError(f"at least one draw is needed, not {draws}")
    ascending_sizes = sorted(set(sizes))
    if not ascending_sizes:
        raise SubsetError("the curve needs at least one subset size")
    if reference.is_constant:
        raise FeatureError(f"the features of all {reference.count} prompts are equal: there is no curve to draw")
    steps = len(ascending_sizes) * (draws + representative_draws + gaussian_draws)
    step_count = 0

    def step(*_: int) -> None:
        nonlocal step_count
        step_count += 1
        if progress is not None:
            progress(step_count, steps)

    distances = reference.curve(ascending_sizes, draws, np.random.default_rng(seed), step, pool)
    return FrechetCurve(
        count=reference.count,
        sizes=tuple(ascending_sizes),
        distances=_table(distances),
        mean_term=tuple(reference.expected_mean_term(size) for size in ascending_sizes),
        representative=_representative(reference, ascending_sizes, representative_draws, seed, pool, step),
        gaussian=_gaussian(reference, ascending_sizes, gaussian_draws, seed, step),
    )


def _table(distances: NDArray[np.float64]) -> Table:
    return tuple(tuple(float(d) for d in row) for row in distances)


def _representative(
    reference: FrechetReference,
    sizes: Sequence[int],
    draws: int,
    seed: int,
    pool: NDArray[np.intp] | None,
    step: Callable[[], None],
) -> Table:
    distances = np.empty((len(sizes), draws))
    for i, size in enumerate(sizes):
        for draw in range(draws):
            distances[i, draw] = reference.distance(representative_subset(reference, size, seed + draw, pool=pool))
            step()
    return _table(distances) if draws else ()


def _gaussian(
    reference: FrechetReference, sizes: Sequence[int], draws: int, seed: int, step: Callable[[], None]
) -> Table:
    distances = np.empty((len(sizes), draws))
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw, 2])
        for i, distance in enumerate(twin_distances(reference, sizes, rng)):
            distances[i, draw] = distance
            step()
    return _table(distances) if draws else ()


def smallest_size_under(curve: FrechetCurve, threshold: float) -> int | None:
    """Return the smallest size from which on the mean distance is at most ``threshold``; None if the last is not."""
    is_below = curve.mean <= threshold
    if not is_below[-1]:
        return None
    above_positions = np.flatnonzero(~is_below)
    return curve.sizes[int(above_positions[-1]) + 1 if len(above_positions) else 0]
