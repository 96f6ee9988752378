"""Compute preference shares and their uncertainty (paper Fig. 11, method §5.2).

A preference is −2 … +2 towards the candidate. Categories run from *baseline strongly* to *candidate strongly*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenhand.analysis.clustered import (
    LEVEL,
    Estimate,
    clusters,
    design_effect,
    mean_estimate,
    share_estimate,
)
from evenhand.analysis.tallies import Tally, tally
from evenhand.errors import InputError

CATEGORIES = ("baseline_strong", "baseline_slight", "none", "candidate_slight", "candidate_strong")


class PreferenceError(InputError):
    """Values are not preferences; the message names the first."""


def checked(preference: ArrayLike) -> NDArray[np.int64]:
    """Return preferences as int64 (N,); ``PreferenceError`` names the first outside −2 … +2."""
    values = np.asarray(preference)
    if values.ndim != 1:
        raise PreferenceError(f"preferences must be one-dimensional, not of shape {values.shape}")
    is_invalid = ~np.isin(values, (-2, -1, 0, 1, 2))
    if is_invalid.any():
        raise PreferenceError(
            f"preference {int(is_invalid.argmax())} is {values[is_invalid][0]}, which is none of −2 … +2"
        )
    return values.astype(np.int64)


@dataclass(frozen=True)
class PreferenceShares:
    """Counts of the five categories, baseline strongly first."""

    counts: tuple[int, int, int, int, int]

    @property
    def n(self) -> int:
        """Number of ratings."""
        return sum(self.counts)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Shares of the categories, (5,); NaN without ratings."""
        return np.asarray(self.counts) / self.n if self.n else np.full(5, np.nan)

    @property
    def baseline(self) -> float:
        """Share that prefers the baseline, slightly or strongly; NaN without ratings."""
        return self._share(self.counts[:2])

    @property
    def candidate(self) -> float:
        """Share that prefers the candidate, slightly or strongly; NaN without ratings."""
        return self._share(self.counts[3:])

    @property
    def net(self) -> float:
        """Candidate share minus baseline share."""
        return self.candidate - self.baseline

    def _share(self, counts: tuple[int, ...]) -> float:
        """Divide once: sums of shares differ in their last digit where both sides have as many ratings."""
        return sum(counts) / self.n if self.n else math.nan


def preference_shares(preference: ArrayLike) -> PreferenceShares:
    """Count the five categories."""
    a, b, c, d, e = np.bincount(checked(preference) + 2, minlength=5)
    return PreferenceShares((int(a), int(b), int(c), int(d), int(e)))


def preference_estimates(
    preference: ArrayLike, evaluators: ArrayLike, prompts: ArrayLike, *, level: float = LEVEL
) -> dict[str, Estimate]:
    """Estimate the five shares, the candidate's and the baseline's share, the net share and the mean preference.

    Ratings of one evaluator, and of one prompt, are correlated: see ``analysis.clustered``. The net share (candidate
    minus baseline, −1 … 1) and the mean preference (−2 … 2) carry the p-value of no difference. At a share of 0 or 1
    the design effect is the mean of the other shares'.
    """
    groups = clusters(evaluators, prompts)
    return tallied_estimates(tally(checked(preference) + 2, 5, groups.evaluator, groups.prompt), level=level)


def tallied_estimates(groups: Tally, *, level: float = LEVEL) -> dict[str, Estimate]:
    """Estimate what ``preference_estimates`` does from ratings that are counted by the five categories."""
    values = np.arange(-2, 3)
    hits = {name: values == i - 2 for i, name in enumerate(CATEGORIES)}
    hits |= {"baseline": values < 0, "candidate": values > 0}
    effects = [design_effect(each, groups) for each in hits.values()]
    known = [effect for effect in effects if not math.isnan(effect)]
    effect = float(np.mean(known)) if known else math.nan
    estimates = {name: share_estimate(each, groups, effect=effect, level=level) for name, each in hits.items()}
    estimates["net"] = _within(mean_estimate(np.sign(values), groups, level=level), 1.0)
    estimates["mean"] = _within(mean_estimate(values, groups, level=level), 2.0)
    return estimates


def _within(estimate: Estimate, limit: float) -> Estimate:
    """Cut an interval off at the possible values −limit … limit."""
    if math.isnan(estimate.low):
        return estimate
    return replace(estimate, low=max(estimate.low, -limit), high=min(estimate.high, limit))
