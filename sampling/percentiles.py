"""Cut strata around percentile ranks of a score (method §4.7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenhand.errors import InputError


class StrataError(InputError):
    """Strata cannot be cut from these scores or sizes; the message says what is missing."""


def _start(percentile: float, per_stratum: int, count: int) -> int:
    """Return the first rank of a stratum: ``round(p/100·(n−1) − (m−1)/2)``, halves upwards, cut to the ends."""
    middle = Fraction(percentile) * (count - 1) / 100 - Fraction(per_stratum - 1, 2)
    rounded = (2 * middle + 1) // 2  # floor(x + 1/2) in exact fractions, so that ties do not depend on rounding
    return int(min(max(rounded, 0), count - per_stratum))


def minimum_prompts(percentiles: Sequence[float] = (90, 50, 10), per_stratum: int = 50) -> int:
    """Return the smallest n for which every stratum lies around its percentile and none overlaps another.

    Between 0 and 100 a percentile needs half a stratum on either side (246 prompts for the defaults); the strata of 0
    and 100 are cut to the ends.
    """
    _check(percentiles, per_stratum)
    half = Fraction(per_stratum - 1, 2)
    bounds = [Fraction(per_stratum - 1)]  # lower bounds of n − 1
    fractions = sorted(Fraction(p) / 100 for p in percentiles)
    bounds += [half / min(p, 1 - p) for p in fractions if 0 < p < 1]
    for low, high in pairwise(fractions):
        # a stratum at an end (percentile 0 or 100) is shifted inwards by half a stratum
        shift = half * ((low == 0) + (high == 1))
        bounds.append((per_stratum + shift) / (high - low))
    return math.ceil(max(bounds)) + 1


def percentile_strata(
    scores: ArrayLike, percentiles: Sequence[float] = (90, 50, 10), per_stratum: int = 50
) -> dict[float, NDArray[np.intp]]:
    """Return for each percentile the indices of the ``per_stratum`` scores around its rank, in ascending order of rank.

    Ranks ascend; ties are broken by index. Raises ``StrataError`` for scores that are not finite, and for strata that
    would overlap (it says how many scores are needed: 246 for the defaults).
    """
    _check(percentiles, per_stratum)
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise StrataError(f"scores must be one-dimensional, not of shape {values.shape}")
    if not np.isfinite(values).all():
        index = int(np.argmin(np.isfinite(values)))
        raise StrataError(f"score {index} is {values[index]}; every prompt needs a finite score")
    minimum_count = minimum_prompts(percentiles, per_stratum)
    if len(values) < minimum_count:
        raise StrataError(
            f"strata of {per_stratum} around the percentiles {', '.join(f'{p:g}' for p in percentiles)} would overlap "
            f"or leave the ends among {len(values)} prompts; at least {minimum_count} are needed"
        )
    order = np.argsort(values, kind="stable")
    return {p: order[(start := _start(p, per_stratum, len(values))) : start + per_stratum] for p in percentiles}


def _check(percentiles: Sequence[float], per_stratum: int) -> None:
    if per_stratum < 1:
        raise StrataError(f"per_stratum must be at least 1, not {per_stratum}")
    if not percentiles or len(set(percentiles)) < len(percentiles):
        raise StrataError(f"percentiles must be given, and differ: {list(percentiles)}")
    for p in percentiles:
        if not 0 <= p <= 100:
            raise StrataError(f"percentile {p} is not between 0 and 100")
