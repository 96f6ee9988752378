"""Plan a study: which differences a number of evaluators finds, and how many evaluators a difference needs.

A plan is what an admin decides (people, pairs, comparisons) and what ratings are taken to be like; ``analysis.power``
computes. The paper gives shares and no correlations: 0.1 for two ratings by one evaluator and 0.2 for two ratings of
one prompt are assumptions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from evenhand.analysis.power import (
    Assumptions,
    Found,
    PowerError,
    assumptions,
    detectable_difference,
    required_evaluators,
)
from evenhand.analysis.simulated_study import PAPER_SHARES, Design, SimulationError

Floats = NDArray[np.float64]
NONE = 2  # place of “no preference” among the five categories
EVALUATOR_CORRELATION, PROMPT_CORRELATION = 0.1, 0.2
POWER = 0.8


@dataclass(frozen=True)
class Plan:
    """A study of several comparisons, each of which has its own pair of every prompt."""

    evaluators: int
    pairs_each: int  # that one evaluator rates, of all comparisons together
    prompts: int
    comparisons: int
    assumed: Assumptions

    def __post_init__(self) -> None:
        if self.pairs_each < self.comparisons:
            raise PowerError(f"{self.pairs_each} pairs are fewer than one of each of {self.comparisons} comparisons")
        if self.pairs_each > self.prompts:
            raise PowerError(f"nobody sees a prompt twice, so {self.pairs_each} pairs need as many prompts")

    @property
    def design(self) -> Design:
        """Return the design of one comparison; pairs that do not divide are left out."""
        return Design(self.evaluators, self.pairs_each // self.comparisons, self.prompts)

    @property
    def ratings(self) -> int:
        """Number of ratings, of all comparisons."""
        return self.evaluators * self.pairs_each

    @property
    def ratings_per_pair(self) -> float:
        """Number of ratings of a pair, on average."""
        return self.design.ratings / self.prompts

    @property
    def is_paper(self) -> bool:
        """Whether the numbers are those of the paper's study, whatever is assumed."""
        return self.design == paper_plan(self.assumed).design


def paper_plan(assumed: Assumptions) -> Plan:
    """Return the paper's study: 17 evaluators × 30 pairs of two comparisons over 150 prompts, 255 ratings each."""
    return Plan(17, 30, 150, 2, assumed)


def plan_assumptions(
    shares: ArrayLike = PAPER_SHARES,
    *,
    none_share: float | None = None,
    evaluator_correlation: float = EVALUATOR_CORRELATION,
    prompt_correlation: float = PROMPT_CORRELATION,
) -> Assumptions:
    """Assume shares (5,), −2 first, with another share of “no preference” if one is given, and two correlations."""
    given = np.asarray(shares, dtype=np.float64)
    if none_share is not None:
        if not 0 <= none_share < 1:
            raise PowerError(f"the share of no preference lies in 0 … 1, not {none_share}")
        given = _with_none_share(given, none_share)
    return assumptions(given, evaluator_correlation, prompt_correlation)


def _with_none_share(shares: Floats, none_share: float) -> Floats:
    """Scale the four preferences so that “no preference” has this share; alike, where nobody has a preference."""
    others = np.delete(shares, NONE)
    others = others / others.sum() if others.sum() > 0 else np.full(4, 0.25)
    return np.insert((1 - none_share) * others, NONE, none_share)


@dataclass(frozen=True)
class Answers:
    """What a plan finds; differences are net shares, 0 … 1."""

    detectable: Found
    detectable_after_holm: Found  # where Holm's correction asks most of a comparison
    chance: float  # to find the difference that is expected
    reach: float  # half the width of the 95 % interval, if the difference is the expected one
    required: Found  # evaluators for the expected difference
    design_effect: float


def answers(plan: Plan, difference: float, *, power: float = POWER) -> Answers:
    """Answer for a difference to be found, a net share above 0."""
    assumed, design = plan.assumed, plan.design
    error = assumed.standard_error(design, difference)
    strict = replace(assumed, level=1 - (1 - assumed.level) / plan.comparisons)
    return Answers(
        detectable=detectable_difference(assumed, design, power=power),
        detectable_after_holm=detectable_difference(strict, design, power=power),
        chance=assumed.power(design, difference),
        reach=float(stats.t.ppf((1 + assumed.level) / 2, design.degrees_of_freedom)) * error,
        required=required_evaluators(assumed, design, difference, power=power),
        design_effect=assumed.design_effect(design),
    )


def power_curve(plan: Plan, differences: Floats) -> Floats:
    """Compute the power for differences (D,), (D,); NaN where no lead gives so large a difference."""
    return np.array([_power(plan, float(each)) for each in differences])


def _power(plan: Plan, difference: float) -> float:
    try:
        return plan.assumed.power(plan.design, difference)
    except SimulationError:
        return math.nan


def detectable_curve(plan: Plan, evaluators: ArrayLike, *, power: float = POWER) -> tuple[Floats, Floats]:
    """Return ratings of a comparison (E,) and detectable differences (E,), for other numbers of evaluators (E,)."""
    plans = [replace(plan, evaluators=int(each)) for each in np.asarray(evaluators)]
    found = [detectable_difference(each.assumed, each.design, power=power).value for each in plans]
    return np.array([each.design.ratings for each in plans], dtype=np.float64), np.array(found)
