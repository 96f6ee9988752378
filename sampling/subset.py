"""Random subsets and their Fréchet distance to the whole set (paper Fig. 10, METHOD §3 steps 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.frechet import FrechetReference


class SubsetError(ValueError):
    """A subset that cannot be drawn."""


def random_subset(count: int, size: int, seed: int) -> NDArray[np.intp]:
    """``size`` of ``count`` indices, drawn without replacement and sorted; the draws of one seed are nested."""
    if not 1 <= size <= count:
        raise SubsetError(f"{size} prompts cannot be drawn from {count}")
    if seed < 0:
        raise SubsetError(f"the seed must not be negative: {seed}")
    chosen: NDArray[np.intp] = np.sort(np.random.default_rng(seed).permutation(count)[:size])
    return chosen


@dataclass(frozen=True)
class FrechetCurve:
    """Distances over subset sizes and draws, with the exact expectation of the mean term."""

    count: int
    sizes: tuple[int, ...]
    distances: tuple[tuple[float, ...], ...]  # (sizes, draws)
    mean_term: tuple[float, ...]  # E |m_n − μ|² = (1/n − 1/N) tr Σ

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
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FrechetCurve:
        """The inverse of ``to_dict``."""
        return cls(
            int(data["count"]),
            tuple(data["sizes"]),
            tuple(tuple(row) for row in data["distances"]),
            tuple(data["mean_term"]),
        )


def frechet_curve(
    reference: FrechetReference,
    sizes: Sequence[int],
    draws: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> FrechetCurve:
    """Distances of random subsets over ``sizes``; the sizes of one draw are nested (prefixes of one permutation)."""
    if draws < 1:
        raise SubsetError(f"at least one draw is needed, not {draws}")
    ordered = sorted(set(sizes))
    if not ordered:
        raise SubsetError("the curve needs at least one subset size")
    distances = reference.curve(ordered, draws, np.random.default_rng(seed), progress)
    return FrechetCurve(
        count=reference.count,
        sizes=tuple(ordered),
        distances=tuple(tuple(float(d) for d in row) for row in distances),
        mean_term=tuple(reference.expected_mean_term(size) for size in ordered),
    )


def smallest_size_under(curve: FrechetCurve, threshold: float) -> int | None:
    """The smallest size from which on the mean distance stays at or below ``threshold``; none if the last is above."""
    below = curve.mean <= threshold
    if not below[-1]:
        return None
    above = np.flatnonzero(~below)
    return curve.sizes[int(above[-1]) + 1 if len(above) else 0]
