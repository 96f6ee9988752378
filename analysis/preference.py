"""Compute preference shares and their uncertainty (paper Fig. 11, method §5.2).

A preference is −2 … +2 towards the candidate. Categories run from *baseline strongly* to *candidate strongly*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

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
        """Share that prefers the baseline, slightly or strongly."""
        return float(self.shares[:2].sum())

    @property
    def candidate(self) -> float:
        """Share that prefers the candidate, slightly or strongly."""
        return float(self.shares[3:].sum())

    @property
    def net(self) -> float:
        """Candidate share minus baseline share."""
        return self.candidate - self.baseline

    def interval(self, categories: tuple[int, ...], level: float = 0.95) -> tuple[float, float]:
        """Compute the Wilson interval of the joint share of some categories, which treats ratings as independent."""
        if not self.n:
            return (float("nan"), float("nan"))
        hits = sum(self.counts[c] for c in categories)
        limits = stats.binomtest(hits, self.n).proportion_ci(level, method="wilson")
        return (float(limits.low), float(limits.high))


def preference_shares(preference: ArrayLike) -> PreferenceShares:
    """Count the five categories."""
    a, b, c, d, e = np.bincount(checked(preference) + 2, minlength=5)
    return PreferenceShares((int(a), int(b), int(c), int(d), int(e)))


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; NaN if there are no data."""

    estimate: float
    low: float
    high: float


def clustered_intervals(
    preference: ArrayLike,
    evaluators: ArrayLike,
    prompts: ArrayLike,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 2000,
) -> dict[str, Interval]:
    """Compute intervals of the five shares and of candidate, baseline and net share, clustered in two ways.

    Ratings of one evaluator, and of one prompt, are correlated. Evaluators and prompts are resampled with replacement,
    independently, and the weight of a rating is the product of its evaluator's and its prompt's counts (the pigeonhole
    bootstrap, Owen 2007); the limits are percentiles of the weighted shares. A single evaluator or prompt cannot be
    resampled and keeps weight one, so the interval is then too narrow.
    """
    values = checked(preference)
    names = (*CATEGORIES, "baseline", "candidate", "net")
    if len(values) == 0:
        return {name: Interval(float("nan"), float("nan"), float("nan")) for name in names}
    category_rows = np.eye(5)[values + 2]  # (N, 5)
    tables = np.empty((resamples, 5))
    evaluator_index, prompt_index = _cluster_index(evaluators, values), _cluster_index(prompts, values)
    for r in range(resamples):
        weights = (
            _resample_counts(evaluator_index, rng)[evaluator_index] * _resample_counts(prompt_index, rng)[prompt_index]
        )
        total = weights.sum()
        tables[r] = weights @ category_rows / total if total else np.nan
    draws = _add_sums(tables[~np.isnan(tables[:, 0])])
    point = _add_sums(category_rows.mean(axis=0, keepdims=True))[0]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0)
    return {name: Interval(float(point[i]), float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _cluster_index(labels: ArrayLike, values: NDArray[np.int64]) -> NDArray[np.intp]:
    array = np.asarray(labels)
    if array.shape != values.shape:
        raise PreferenceError(f"{array.size} cluster labels for {len(values)} preferences")
    index: NDArray[np.intp] = np.unique(array, return_inverse=True)[1].reshape(-1)
    return index


def _resample_counts(index: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw how often each cluster occurs in one resample, (clusters,)."""
    clusters = int(index.max()) + 1
    if clusters == 1:
        return np.ones(1)
    return np.bincount(rng.integers(clusters, size=clusters), minlength=clusters).astype(np.float64)


def _add_sums(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    baseline, candidate = shares[:, :2].sum(axis=1), shares[:, 3:].sum(axis=1)
    return np.column_stack([shares, baseline, candidate, candidate - baseline])


def sign_test(preference: ArrayLike) -> float:
    """Compute the two-sided exact binomial p-value of equal preference for candidate and baseline, without ties.

    1.0 if there are only ties. The test treats ratings as independent; the clustered interval does not.
    """
    values = checked(preference)
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
