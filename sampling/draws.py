"""Draw a random subset of prompts (method §4.5); the representative draw starts from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import InputError

DRAWS = ("random", "representative")


class SubsetError(InputError):
    """A subset that cannot be drawn."""


def random_subset(count: int, size: int, seed: int) -> NDArray[np.intp]:
    """Draw ``size`` of ``count`` indices without replacement, sorted; the draws of one seed are nested."""
    if not 1 <= size <= count:
        raise SubsetError(f"{size} prompts cannot be drawn from {count}")
    if seed < 0:
        raise SubsetError(f"the seed must not be negative: {seed}")
    subset_indices: NDArray[np.intp] = np.sort(np.random.default_rng(seed).permutation(count)[:size])
    return subset_indices
