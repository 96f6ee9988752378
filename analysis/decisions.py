"""Decide with estimates: several comparisons, wins and ties, equivalence, and a side that is chosen more often."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from evenhand.analysis.clustered import LEVEL, Estimate, Groups, clusters, mean_estimate, share_estimate
from evenhand.analysis.preference import checked
from evenhand.analysis.tallies import Tally, tally
from evenhand.errors import InputError


class DecisionError(InputError):
    """A decision cannot be computed from these numbers; the message says why."""


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values (M,) so that the chance of any false finding among them stays below the level (Holm 1979).

    The i-th smallest, from 0, is multiplied by the number that are left, M − i, and is never below the one before it.
    NaN, where a comparison has no p-value, stays NaN and counts among the M as a p-value of 1: the number of
    comparisons was planned, and what was answered must not change it. Raises ``DecisionError`` for other numbers.
    """
    values = np.asarray(p_values, dtype=np.float64)
    known = ~np.isnan(values)
    if values.ndim != 1 or ((values[known] < 0) | (values[known] > 1)).any():
        raise DecisionError(f"p-values must be a list of numbers in 0 … 1, not {values.tolist()}")
    adjusted = np.full(len(values), np.nan)
    order = np.flatnonzero(known)[np.argsort(values[known], kind="stable")]
    left = len(values) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * left), 1.0) if len(order) else []
    return adjusted


def win_share(preference: ArrayLike, groups: Groups, *, level: float = LEVEL) -> Estimate:
    """Estimate (wins + ties / 2) / n of preferences −2 … 2, 0 … 1, and test that it is one half.

    It is half of one more than the net share, so both have one p-value. With a tally of the five categories,
    ``preference`` are these.
    """
    won = (np.sign(checked(preference)) + 1) / 2
    found = mean_estimate(won, groups, null=0.5, level=level)
    return replace(found, low=_cut(found.low), high=_cut(found.high))


def _cut(value: float) -> float:
    return value if math.isnan(value) else min(max(value, 0.0), 1.0)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests against a margin (Schuirmann 1987).

    The estimate is *equivalent* to ``centre`` where p, the larger of both, is below the level α; the interval low …
    high, of confidence 1 − 2α, then lies within centre − margin … centre + margin. Where nothing can be said,
    ``reason`` says why, the numbers are NaN and ``is_equivalent`` is false.
    """

    margin: float
    centre: float
    p_below: float = math.nan  # that the estimate lies at or below centre − margin
    p_above: float = math.nan  # that it lies at or above centre + margin
    low: float = math.nan
    high: float = math.nan
    is_equivalent: bool = False
    reason: str = ""

    @property
    def p(self) -> float:
        """The p-value of a difference of the margin or more: the larger of both."""
        return max(self.p_below, self.p_above)


def equivalence(estimate: Estimate, margin: float, *, centre: float = 0.0, alpha: float = 0.05) -> Equivalence:
    """Test that a mean or share lies within ``margin`` (above 0) of ``centre``: 0 of a net share, 0.5 of a win share.

    Raises ``DecisionError`` for a margin that is not above 0 and for α outside 0 … 0.5.
    """
    if not (math.isfinite(margin) and margin > 0):
        raise DecisionError(f"the margin must be above 0, not {margin}")
    if not 0 < alpha < 0.5:
        raise DecisionError(f"α must lie between 0 and 0.5, not {alpha}")
    error, freedom = estimate.standard_error, estimate.degrees_of_freedom
    if estimate.reason:
        return Equivalence(margin, centre, reason=estimate.reason)
    if not error > 0 or freedom < 1:
        return Equivalence(margin, centre, reason="the estimate has no standard error that a test could use")
    difference = estimate.estimate - centre
    p_below = float(stats.t.sf((difference + margin) / error, freedom))
    p_above = float(stats.t.cdf((difference - margin) / error, freedom))
    reach = float(stats.t.ppf(1 - alpha, freedom)) * error
    return Equivalence(
        margin,
        centre,
        p_below,
        p_above,
        estimate.estimate - reach,
        estimate.estimate + reach,
        is_equivalent=max(p_below, p_above) < alpha,
    )


@dataclass(frozen=True)
class SideBias:
    """Whether choices lean to one side of the screen, whatever it shows."""

    mean: Estimate  # of choices −2 … 2 towards the right; tested against 0
    right: Estimate  # share of the right among choices for a side; tested against one half
    sided: int  # number of choices for a side


def side_bias(choice: ArrayLike, evaluators: ArrayLike, prompts: ArrayLike, *, level: float = LEVEL) -> SideBias:
    """Estimate the lean of choices as seen, −2 (left much better) … 2 (right much better), (N,).

    With sides drawn at random, a difference between the arms leans to neither side.
    """
    values = checked(choice)
    groups = clusters(evaluators, prompts)
    sided = values != 0
    for_a_side = clusters(groups.evaluator[sided], groups.prompt[sided])
    return tallied_side_bias(
        tally(values + 2, 5, groups.evaluator, groups.prompt),
        tally(values[sided] + 2, 5, for_a_side.evaluator, for_a_side.prompt),
        level=level,
    )


def tallied_side_bias(choices: Tally, sided: Tally, *, level: float = LEVEL) -> SideBias:
    """Estimate what ``side_bias`` does from choices counted by the five options, and from those that are for a side."""
    values = np.arange(-2, 3)
    mean = mean_estimate(values, choices, level=level)
    if choices.n and not sided.n:
        right = Estimate(math.nan, reason="no choice is for a side")
    else:
        right = share_estimate(values > 0, sided, level=level, null=0.5)
    return SideBias(mean, right, sided.n)
