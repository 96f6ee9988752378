"""Random subsets and their Fréchet distance to the whole set (paper Fig. 10, method §4.4 and §4.5).

A curve may hold three families of distances: of random draws (the paper's), of representative draws, and of draws from
the set's Gaussian twin, which show what of the curve is finite-sample bias.
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

Table = tuple[tuple[float, ...], ...]  # (sizes, draws); () where that family was not computed


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
        """The same curve with the distances of one way of drawing."""
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
        """As plain JSON."""
        return {
            "count": self.count,
            "sizes": list(self.sizes),
            "distances": [list(row) for row in self.distances],
            "mean_term": list(self.mean_term),
            "representative": [list(row) for row in self.representative],
            "gaussian": [list(row) for row in self.gaussian],
        }

    def to_csv(self) -> str:
        """One line a distance, with how the subset was drawn and what its mean term is expected to be."""
        lines = ["count,size,drawn,draw,distance,expected_mean_term"]
        tables = (("random", self.distances), ("representative", self.representative), ("gaussian", self.gaussian))
        for drawn, table in tables:
            for size, expected, row in zip(self.sizes, self.mean_term, table or [()] * len(self.sizes), strict=True):
                lines += [f"{self.count},{size},{drawn},{i},{value!r},{expected!r}" for i, value in enumerate(row)]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FrechetCurve:
        """The inverse of ``to_dict``."""
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
    """A subset drawn one way or the other, sorted row indices; ``pool``: the rows that may be drawn."""
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
    """Distances of random subsets over ``sizes``; the sizes of one draw are nested (prefixes of one permutation).

    The first random draw is ``random_subset`` of the seed, and the first representative one ``representative_subset``
    of it. ``pool``: the rows that are drawn from, where it is not all of them.
    """
    if draws < 1:
        raise SubsetError(f"at least one draw is needed, not {draws}")
    ordered = sorted(set(sizes))
    if not ordered:
        raise SubsetError("the curve needs at least one subset size")
    if reference.is_constant:
        raise FeatureError(f"the features of all {reference.count} prompts are equal: there is no curve to draw")
    steps = len(ordered) * (draws + representative_draws + gaussian_draws)
    done = 0

    def step(*_: int) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, steps)

    distances = reference.curve(ordered, draws, np.random.default_rng(seed), step, pool)
    return FrechetCurve(
        count=reference.count,
        sizes=tuple(ordered),
        distances=_table(distances),
        mean_term=tuple(reference.expected_mean_term(size) for size in ordered),
        representative=_representative(reference, ordered, representative_draws, seed, pool, step),
        gaussian=_gaussian(reference, ordered, gaussian_draws, seed, step),
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
    """The smallest size from which on the mean distance stays at or below ``threshold``; none if the last is above."""
    below = curve.mean <= threshold
    if not below[-1]:
        return None
    above = np.flatnonzero(~below)
    return curve.sizes[int(above[-1]) + 1 if len(above) else 0]
