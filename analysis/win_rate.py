"""Compute the win rate of one arm's pictures against another's, by a metric's scores of each picture.

This is PickScore's protocol (Kirstain et al. 2023) as the paper's Table 2 follows it: an arm wins a pair where its
picture has the greater score, and an exact tie counts one half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenhand.analysis.clustered import LEVEL, Clusters, Estimate, clusters, share_estimate, wilson_estimate
from evenhand.errors import InputError

Floats = NDArray[np.float64]


class WinRateError(InputError):
    """Scores cannot be compared; the message says which."""


@dataclass(frozen=True)
class WinRate:
    """Shares of pairs that the candidate wins, ties and loses, and what that comes to.

    pairs     that were compared
    left_out  numbers of pairs without two finite scores, from 0, ascending
    rate      (wins + ties / 2) / pairs
    p is of a rate of one half; the three shares have none.
    """

    pairs: int
    left_out: tuple[int, ...]
    win: Estimate
    tie: Estimate
    lose: Estimate
    rate: Estimate


def win_rate(
    candidate: ArrayLike,
    baseline: ArrayLike,
    prompts: ArrayLike,
    *,
    tie: float = 0.0,
    level: float = LEVEL,
) -> WinRate:
    """Compare scores of the candidate's pictures (N,) with the baseline's (N,), pairs clustered by ``prompts`` (N,).

    tie: pairs whose scores differ by at most this count as ties.

    Shares have ``share_estimate``'s interval. The rate has Wilson's, for as many independent pairs as its variance is
    worth, which takes in that ties vary less than wins and losses. Pairs with a score that is not finite are left out
    and counted. Without pairs, or with one prompt, ``reason`` says why there is no interval. Raises ``WinRateError``
    for columns of different lengths and a tie threshold below 0.

    >>> win_rate([0.3, 0.5, 0.2, 0.9], [0.1, 0.5, 0.4, 0.1], ["dog", "cat", "hat", "car"]).rate.estimate
    0.625
    """
    one, other, prompt = np.asarray(candidate), np.asarray(baseline), np.asarray(prompts)
    if one.ndim != 1 or not one.shape == other.shape == prompt.shape:
        raise WinRateError(f"the columns are not lists of one length: {one.shape}, {other.shape}, {prompt.shape}")
    if not (math.isfinite(tie) and tie >= 0):
        raise WinRateError(f"scores cannot tie within {tie:g}: give a size from 0 on")
    is_known = np.isfinite(one) & np.isfinite(other)
    difference = one[is_known].astype(np.float64) - other[is_known]
    won, lost = difference > tie, difference < -tie
    groups = clusters(np.arange(len(difference)), prompt[is_known])
    reason = "there are no pairs with two finite scores" if not len(difference) else ""
    if groups.prompts == 1:
        reason = "all pairs are of one prompt: how much prompts differ cannot be told"
    win, even, lose = (_share(hits, groups, reason, level) for hits in (won, ~won & ~lost, lost))
    rate = _rate(won + (~won & ~lost) / 2, groups, reason, level)
    return WinRate(len(difference), tuple(np.flatnonzero(~is_known).tolist()), win, even, lose, rate)


def _share(hits: NDArray[np.bool_], groups: Clusters, reason: str, level: float) -> Estimate:
    if reason:
        return Estimate(float(hits.mean()) if len(hits) else math.nan, reason=reason)
    return share_estimate(hits, groups, level=level)


def _rate(points: Floats, groups: Clusters, reason: str, level: float) -> Estimate:
    """Estimate the mean of points 0, ½ and 1. A design effect below 1 counts as 1, as for shares."""
    if reason:
        return Estimate(float(points.mean()) if len(points) else math.nan, reason=reason)
    rate, n = float(points.mean()), len(points)
    variance = max(groups.variance((points - rate) / n), float(points.var()) / n)
    # where all pairs end alike they do not tell how much they vary: each prompt then counts as one pair
    count = rate * (1 - rate) / variance if variance > 0 else float(groups.prompts)
    return wilson_estimate(rate, max(count, 1.0), groups.degrees_of_freedom, null=0.5, level=level)
