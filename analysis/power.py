"""Compute which differences a study finds, by formula and by simulation.

With N ratings of variance v, the variance of their mean is v · deff / N, where

    deff = 1 + (m_P − 1) ρ_P + (m_E − 1) ρ_E,

with m_P and m_E ratings of one prompt and of one evaluator, and ρ_P and ρ_E the correlations of two ratings of one
prompt and of one evaluator. The test is that of ``analysis.clustered``, Student's t with min(G_E, G_P) − 1 degrees of
freedom, so power is that of the noncentral t distribution. The variance v is that of the difference that is to be
found: the latent model of ``analysis.simulated_study`` moves its lead there and keeps its thresholds.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from evenhand.analysis.clustered import LEVEL, Clusters, mean_estimate, reason_without_interval
from evenhand.analysis.preference import preference_shares
from evenhand.analysis.simulated_study import (
    SCORES,
    Design,
    LatentModel,
    SimulationError,
    matched_model,
    simulate_study,
)
from evenhand.analysis.variance import VarianceComponents, tallied_components, variance_components

Floats = NDArray[np.float64]
MOST_EVALUATORS = 20_000


class PowerError(SimulationError):
    """Power cannot be computed for these numbers; the message says why."""


class Sizes(Protocol):
    """What power needs of a design: a planned ``Design``, or the ``ObservedDesign`` of ratings that were given."""

    @property
    def ratings(self) -> int: ...

    @property
    def ratings_per_evaluator(self) -> float: ...

    @property
    def ratings_per_prompt(self) -> float: ...

    @property
    def degrees_of_freedom(self) -> int: ...


@dataclass(frozen=True)
class ObservedDesign:
    """The sizes of a study as it came out, however unequal; named as those of ``Design``."""

    ratings: int
    ratings_per_evaluator: float  # m_E = Σ n_e² / N
    ratings_per_prompt: float  # m_P
    degrees_of_freedom: int


def observed_design(groups: Clusters) -> ObservedDesign:
    """Measure the design of given ratings; of no ratings, or of one evaluator or prompt, no power can be computed."""
    return _design_of_sizes(np.bincount(groups.evaluator), np.bincount(groups.prompt))


def _design_of_sizes(*sizes: NDArray[Any]) -> ObservedDesign:
    """Measure the design of so many ratings by each evaluator (E,) and of each prompt (P,), which may be 0."""
    n = int(sizes[0].sum())
    by_evaluator, by_prompt = (float((each**2.0).sum()) / max(n, 1) for each in sizes)
    return ObservedDesign(n, by_evaluator, by_prompt, min(int((each > 0).sum()) for each in sizes) - 1)


@dataclass(frozen=True)
class Assumptions:
    """What ratings are taken to be like, from the paper, a pilot or the study itself.

    ``score`` is ``net`` (the net share, −1 … 1: a difference of 0.1 is 10 points) or ``mean`` (−2 … 2).
    """

    model: LatentModel
    evaluator_correlation: float  # ρ_E of the score
    prompt_correlation: float  # ρ_P
    score: str = "net"
    level: float = LEVEL  # of the two-sided test: α is 1 − level

    def design_effect(self, design: Sizes) -> float:
        """How many times the variance of the estimate exceeds that of as many independent ratings."""
        by_prompt = (design.ratings_per_prompt - 1) * self.prompt_correlation
        return 1 + by_prompt + (design.ratings_per_evaluator - 1) * self.evaluator_correlation

    def standard_error(self, design: Sizes, difference: float) -> float:
        """Compute the standard error of the estimate where the true value is ``difference``."""
        variance = self.model.moved_to(difference, self.score).variance(self.score)
        return math.sqrt(variance * self.design_effect(design) / design.ratings)

    def power(self, design: Sizes, difference: float) -> float:
        """Compute the chance that the test against 0 finds ``difference``: 1 − level at 0, toward 1 for large ones."""
        freedom = _freedom(design)
        critical = float(stats.t.ppf((1 + self.level) / 2, freedom))
        shift = difference / self.standard_error(design, difference)
        return _beyond(critical, freedom, shift) + _beyond(critical, freedom, -shift)


def _freedom(design: Sizes) -> int:
    if design.degrees_of_freedom < 1:
        raise PowerError("one evaluator or one prompt alone gives no test: how much others differ cannot be told")
    return design.degrees_of_freedom


def _beyond(critical: float, freedom: int, shift: float) -> float:
    """The chance that a noncentral t exceeds the critical value; normal where scipy's series fails far out."""
    chance = float(stats.nct.sf(critical, freedom, shift))
    return chance if 0 <= chance <= 1 else float(stats.norm.sf(critical - shift))


def assumptions(
    shares: ArrayLike,
    evaluator_correlation: float,
    prompt_correlation: float,
    *,
    score: str = "net",
    level: float = LEVEL,
) -> Assumptions:
    """Assume shares of the five categories (5,), −2 first, and the two correlations of the score.

    Raises ``SimulationError`` where no normal opinions give them.
    """
    if score not in SCORES:
        raise PowerError(f"score {score!r} is none of {', '.join(SCORES)}")
    if not 0 < level < 1:
        raise PowerError(f"the level lies between 0 and 1, not {level}")
    model = matched_model(shares, evaluator_correlation, prompt_correlation, score=score)
    return Assumptions(model, evaluator_correlation, prompt_correlation, score, level)


@dataclass(frozen=True)
class Found:
    """A number that was looked for, or the reason why there is none (the number is NaN then)."""

    value: float
    reason: str = ""


def detectable_difference(assumed: Assumptions, design: Sizes, *, power: float = 0.8) -> Found:
    """Find the smallest difference above 0 that the test finds with this power."""
    _check_power(assumed, power)
    limit = float(SCORES[assumed.score][-1]) * 0.98
    most = f"{100 * limit:g} points" if assumed.score == "net" else f"{limit:g}"
    try:
        if assumed.power(design, limit) < power:
            return Found(math.nan, f"even {most} would be missed in more than {100 * (1 - power):g} % of such studies")
        root = optimize.brentq(lambda d: assumed.power(design, d) - power, 1e-6, limit, xtol=1e-7)
    except SimulationError as error:
        return Found(math.nan, str(error))
    return Found(float(root) + 1e-6)  # on the side that has the power


def detectable_by_components(
    shares: ArrayLike, components: VarianceComponents, design: Sizes, *, power: float = 0.8, level: float = LEVEL
) -> Found:
    """Find the smallest net share that a study with these variance components, and this design, finds.

    shares      of the five categories, −2 first, (5,)
    components  of the signs of the preferences, −1, 0, 1; a part they do not tell (NaN) counts as no correlation
    """
    if not components.total > 0:
        return Found(math.nan, _reason_without_variance(shares, components))
    one, other = (
        0.0 if math.isnan(each) else each for each in (components.evaluator_correlation, components.prompt_correlation)
    )
    try:
        assumed = assumptions(shares, one, other, level=level)
    except SimulationError:
        return Found(math.nan, "evaluators and prompts differ more in these ratings than a model of opinions allows")
    return detectable_difference(assumed, design, power=power)


def _reason_without_variance(shares: ArrayLike, components: VarianceComponents) -> str:
    given = np.asarray(shares, dtype=np.float64)
    if max(given[:2].sum(), given[2], given[3:].sum()) > 1 - 1e-9:
        return "all ratings are equal in their side, so how ratings vary cannot be told"
    return "; ".join(components.reasons) or "how ratings vary cannot be told"


def detectable_by_study(preference: ArrayLike, groups: Clusters, *, power: float = 0.8, level: float = LEVEL) -> Found:
    """Find the smallest net share that a study like this one, of preferences −2 … 2 (N,), would have found.

    It depends on how ratings vary and not on their net share, so it adds to an interval, unlike the power for the
    observed difference, which only repeats the p-value (Hoenig & Heisey 2001).
    """
    signs = np.sign(np.asarray(preference, dtype=np.float64))
    if groups.reason:
        return Found(math.nan, groups.reason)
    components = variance_components(signs, groups)
    shares = preference_shares(preference).shares
    return detectable_by_components(shares, components, observed_design(groups), power=power, level=level)


def detectable_by_counts(by_evaluator: Floats, by_prompt: Floats, *, power: float = 0.8, level: float = LEVEL) -> Found:
    """Find the same from how often each evaluator (E, 5), and each prompt (P, 5), has each preference, −2 first.

    For ratings of which nobody gave two to one prompt; of a million it takes hardly longer than of a hundred.
    """
    design = _design_of_sizes(by_evaluator.sum(axis=1), by_prompt.sum(axis=1))
    clusters = (int(each.any(axis=1).sum()) for each in (by_evaluator, by_prompt))
    if reason := reason_without_interval(design.ratings, *clusters):
        return Found(math.nan, reason)
    components = tallied_components(SCORES["net"], by_evaluator, by_prompt)
    shares = by_evaluator.sum(axis=0) / design.ratings
    return detectable_by_components(shares, components, design, power=power, level=level)


def required_evaluators(assumed: Assumptions, design: Design, difference: float, *, power: float = 0.8) -> Found:
    """Find the smallest number of evaluators that finds ``difference``, with the trials and prompts of ``design``.

    With few prompts that vary there may be none: more evaluators do not make more prompts.
    """
    _check_power(assumed, power)
    if not 0 < abs(difference) < SCORES[assumed.score][-1]:
        raise PowerError(f"a difference of {difference} is not one that a {assumed.score} can have")

    def is_enough(evaluators: int) -> bool:
        return assumed.power(replace(design, evaluators=evaluators), difference) >= power

    high = 2
    while not is_enough(high):
        if high >= MOST_EVALUATORS:
            return Found(
                math.nan,
                f"more than {MOST_EVALUATORS} evaluators: {design.prompts} prompts are too few, or vary too much",
            )
        high = min(2 * high, MOST_EVALUATORS)
    low = max(high // 2, 1)  # not enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return Found(float(high))


def _check_power(assumed: Assumptions, power: float) -> None:
    if not 1 - assumed.level < power < 1:
        raise PowerError(f"the power lies between {1 - assumed.level:g} and 1, not {power}")


@dataclass(frozen=True)
class SimulatedPower:
    """What simulated studies found of a true difference."""

    studies: int
    found: float  # share of the studies whose test is below 1 − level, 0 … 1
    untested: int  # studies that had no test, which count as not found
    mean: float  # of the estimates
    standard_error: float  # standard deviation of the estimates
    covered: float  # share of the tested studies whose interval holds the difference

    @property
    def error(self) -> float:
        """Standard error of ``found``, from the number of studies."""
        return math.sqrt(self.found * (1 - self.found) / self.studies)


def simulated_power(
    assumed: Assumptions,
    design: Design,
    difference: float,
    rng: np.random.Generator,
    *,
    studies: int = 1000,
    seconds: float = math.inf,
) -> SimulatedPower:
    """Simulate studies of a true ``difference``, and count how often the test that pages print finds it.

    After so many ``seconds`` no more studies are begun; there are two at least.
    """
    if studies < 2:
        raise PowerError(f"at least two studies are simulated, not {studies}")
    model = assumed.model.moved_to(difference, assumed.score)
    estimates, p_values, covers = np.empty(studies), np.empty(studies), np.empty(studies, dtype=bool)
    end = time.monotonic() + seconds
    for i in range(studies):
        if i >= 2 and time.monotonic() > end:
            studies = i
            break
        study = simulate_study(design, model, rng)
        scores = SCORES[assumed.score][study.preference + 2]
        found = mean_estimate(scores, study.groups, level=assumed.level)
        estimates[i], p_values[i], covers[i] = found.estimate, found.p, found.low <= difference <= found.high
    estimates, p_values, covers = estimates[:studies], p_values[:studies], covers[:studies]
    tested = ~np.isnan(p_values)
    return SimulatedPower(
        studies=studies,
        found=float((p_values < 1 - assumed.level).mean()),
        untested=int((~tested).sum()),
        mean=float(estimates.mean()),
        standard_error=float(estimates.std(ddof=1)),
        covered=float(covers[tested].mean()) if tested.any() else math.nan,
    )
