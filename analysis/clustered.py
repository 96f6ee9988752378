"""Compute intervals and tests of means and shares of ratings that are clustered by evaluator and by prompt.

Ratings of one evaluator are correlated, and so are ratings of one prompt. The variance of a mean is the two-way
cluster-robust one (Cameron, Gelbach & Miller 2011): with z = y − ȳ,

    V = [c_E Σ_e (Σ z)² + c_P Σ_p (Σ z)² − c_EP Σ_ep (Σ z)²] / n²,   c = G / (G − 1),

where the sums run over the G evaluators, prompts, and cells of both. In small samples the difference can fall below
what one way of clustering alone gives, even below zero; it is therefore not taken to be smaller than the larger one-way
term. Intervals and tests use Student's t with min(G_E, G_P) − 1 degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from evenhand.errors import InputError

Floats = NDArray[np.float64]
LEVEL = 0.95


class ClusterError(InputError):
    """Values and cluster labels do not belong together; the message says how."""


@dataclass(frozen=True)
class Estimate:
    """An estimate with its uncertainty.

    p is two-sided, of the value that was tested. Where no interval can be given, ``reason`` says why, and
    standard_error, low, high and p are NaN.
    """

    estimate: float
    standard_error: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    degrees_of_freedom: int = 0
    reason: str = ""


class Groups(Protocol):
    """What estimates need of how ratings go together: ``Clusters`` of single ratings, or a ``Tally`` of categories."""

    @property
    def evaluators(self) -> int: ...

    @property
    def prompts(self) -> int: ...

    @property
    def n(self) -> int: ...

    @property
    def degrees_of_freedom(self) -> int: ...

    @property
    def reason(self) -> str: ...

    def total(self, values: Floats) -> float: ...

    def occurring(self, values: Floats) -> Floats: ...

    def variance(self, added: Floats) -> float: ...


@dataclass(frozen=True, eq=False)
class Clusters:
    """The evaluator and the prompt of every rating, as numbers from 0, (N,)."""

    evaluator: NDArray[np.intp]
    prompt: NDArray[np.intp]
    evaluators: int
    prompts: int

    @property
    def degrees_of_freedom(self) -> int:
        """One less than the smaller number of clusters."""
        return min(self.evaluators, self.prompts) - 1

    @property
    def reason(self) -> str:
        """Say why there is no interval; empty if there is one."""
        return reason_without_interval(self.n, self.evaluators, self.prompts)

    @property
    def n(self) -> int:
        """Number of ratings."""
        return len(self.evaluator)

    def total(self, values: Floats) -> float:
        """Sum the values of all ratings, (N,)."""
        return float(values.sum())

    def occurring(self, values: Floats) -> Floats:
        """Return the values themselves."""
        return values

    def variance(self, added: Floats) -> float:
        """The clustered variance of a sum to which each rating adds ``added``, (N,)."""
        return float(two_way_covariance(added, self)[0, 0])

    @cached_property
    def rated_once(self) -> bool:
        """Whether nobody has rated one prompt twice."""
        cells = np.sort(self.evaluator * self.prompts + self.prompt)
        return not (cells[1:] == cells[:-1]).any()


def reason_without_interval(n: int, evaluators: int, prompts: int) -> str:
    """Say why so many ratings by so many clusters have no interval; empty if they have one."""
    if not n:
        return "there are no ratings"
    for count, kind, many in ((evaluators, "evaluator", "evaluators"), (prompts, "prompt", "prompts")):
        if count == 1:
            return f"all ratings are of one {kind}: how much {many} differ cannot be told"
    return ""


def inflated(count: int) -> float:
    """c = G / (G − 1); 1 for one cluster."""
    return count / (count - 1) if count > 1 else 1.0


def two_way(one: float, other: float, both: float) -> float:
    """Return the two-way variance from its terms, not smaller than the larger one-way term."""
    return max(one + other - both, one, other)


def clusters(evaluators: ArrayLike, prompts: ArrayLike) -> Clusters:
    """Number the labels of evaluators and prompts, each (N,)."""
    one, other = np.asarray(evaluators), np.asarray(prompts)
    if one.ndim != 1 or one.shape != other.shape:
        raise ClusterError(f"evaluators {one.shape} and prompts {other.shape} must be two lists of one length")
    names_one, index_one = np.unique(one, return_inverse=True)
    names_other, index_other = np.unique(other, return_inverse=True)
    return Clusters(index_one.reshape(-1), index_other.reshape(-1), len(names_one), len(names_other))


def two_way_covariance(scores: ArrayLike, groups: Clusters) -> Floats:
    """Return the two-way clustered sum of outer products of scores, (K, K) of scores (N, K) or (N,).

    This is the middle of a sandwich: divided by n² it is the variance of a mean of centred values. Its diagonal is not
    smaller than that of the larger one-way term: where it would be, the larger one-way matrix is returned.
    """
    table = np.asarray(scores, dtype=np.float64)
    table = table.reshape(len(table), -1)
    if len(table) != len(groups.evaluator):
        raise ClusterError(f"{len(groups.evaluator)} cluster labels for {len(table)} values")
    both = groups.evaluator * groups.prompts + groups.prompt
    cells, cell = np.unique(both, return_inverse=True)
    one_ways = [
        _one_way(table, groups.evaluator, groups.evaluators),
        _one_way(table, groups.prompt, groups.prompts),
    ]
    covariance = one_ways[0] + one_ways[1] - _one_way(table, cell.reshape(-1), len(cells))
    larger = max(one_ways, key=lambda matrix: float(np.trace(matrix)))
    if (np.diag(covariance) < np.diag(larger)).any():
        return larger
    return covariance


def _one_way(table: Floats, index: NDArray[np.intp], count: int) -> Floats:
    """Sum scores within clusters, and their outer products over the clusters, times G / (G − 1)."""
    sums: Floats = np.column_stack(
        [np.bincount(index, column, minlength=count).astype(np.float64) for column in table.T]
    )
    product: Floats = sums.T @ sums
    return product * inflated(count)


def mean_estimate(values: ArrayLike, groups: Groups, *, null: float = 0.0, level: float = LEVEL) -> Estimate:
    """Estimate the mean of values (N,), and test that it is ``null``."""
    array = np.asarray(values, dtype=np.float64)
    mean = groups.total(array) / groups.n if groups.n else math.nan
    found = influence_estimate(mean, (array - mean) / max(groups.n, 1), groups, null=null, level=level)
    if found.reason and not groups.reason and not np.ptp(groups.occurring(array)):
        return replace(found, reason="all values are equal, so how much they vary cannot be told")
    return found


def influence_estimate(
    value: float, influence: ArrayLike, groups: Groups, *, null: float = 0.0, level: float = LEVEL
) -> Estimate:
    """Give an estimate its interval and test, from what each of the N ratings adds to it, (N,).

    ``influence`` sums to 0: of a mean it is (y − ȳ) / n, of a maximum of the likelihood the inverse information times
    the score of each rating.
    """
    if groups.reason:
        return Estimate(value, reason=groups.reason)
    added = np.asarray(influence, dtype=np.float64)
    variance = groups.variance(added)
    if variance <= 1e-12 * groups.total(added**2):  # nothing, or what rounding leaves of nothing
        return Estimate(value, 0.0, reason="no evaluator and no prompt differs from another, so the error is not told")
    error, freedom = math.sqrt(variance), groups.degrees_of_freedom
    reach = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(value - null) / error, freedom))
    return Estimate(value, error, value - reach, value + reach, p, freedom)


def design_effect(hits: ArrayLike, groups: Groups) -> float:
    """Return how many times the variance of a share exceeds that of as many independent ratings; NaN at 0 and 1."""
    array = np.asarray(hits, dtype=np.float64)
    share = groups.total(array) / groups.n if groups.n else math.nan
    if groups.reason or not 0 < share < 1:
        return math.nan
    return groups.variance(array - share) / groups.n / (share * (1 - share))


def share_estimate(
    hits: ArrayLike,
    groups: Groups,
    *,
    effect: float = math.nan,
    level: float = LEVEL,
    null: float = math.nan,
) -> Estimate:
    """Estimate a share of ratings, (N,) of 0 and 1, by Wilson's interval with Student's t for n / effect ratings.

    p is of the share ``null`` (0 … 1), if one is given: it is below 1 − level where the interval leaves ``null`` out.

    At a share of 0 or 1 the ratings do not tell the design effect: ``effect`` is then that of other categories of the
    same ratings. Where none of them tells it (all ratings are equal), every cluster of the scarcer kind counts as one
    rating. A design effect below 1 counts as 1.
    """
    array = np.asarray(hits, dtype=np.float64)
    share = groups.total(array) / groups.n if groups.n else math.nan
    if groups.reason:
        return Estimate(share, reason=groups.reason)
    known = design_effect(array, groups)
    known = effect if math.isnan(known) else known
    scarce = min(groups.evaluators, groups.prompts)
    count = scarce if math.isnan(known) else max(groups.n / max(known, 1.0), 1.0)
    return wilson_estimate(share, count, groups.degrees_of_freedom, null=null, level=level)


def wilson_estimate(
    share: float, count: float, freedom: int, *, null: float = math.nan, level: float = LEVEL
) -> Estimate:
    """Give a share (0 … 1) Wilson's interval with Student's t for ``count`` independent ratings, which may be broken.

    p is of the share ``null`` (0 … 1), if one is given.
    """
    t = float(stats.t.ppf((1 + level) / 2, freedom))
    centre = (share + t * t / (2 * count)) / (1 + t * t / count)
    reach = t * math.sqrt(share * (1 - share) / count + t * t / (4 * count * count)) / (1 + t * t / count)
    error = math.sqrt(share * (1 - share) / count)
    low, high = (0.0 if share == 0 else centre - reach), (1.0 if share == 1 else centre + reach)
    p = (
        2 * float(stats.t.sf(abs(share - null) * math.sqrt(count / (null * (1 - null))), freedom))
        if 0 < null < 1
        else math.nan
    )
    return Estimate(share, error, max(low, 0.0), min(high, 1.0), p, freedom)
