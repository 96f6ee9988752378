"""Simulate whole studies: evaluators and prompts with opinions of their own, and ratings −2 … 2 of each other.

The latent opinion of a rating is μ + a_e + b_p + ε, all normal, with variances r_E, r_P and 1 − r_E − r_P, cut at four
thresholds. The expected shares are therefore normal integrals, and so are the intraclass correlations of the ratings
themselves, which are smaller than the latent r_E and r_P: ``matched_model`` finds the latent ones that give the shares
and correlations asked for.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from evenhand.analysis.clustered import Clusters, clusters
from evenhand.errors import InputError

Floats = NDArray[np.float64]
SCORES = {"net": np.array([-1.0, -1.0, 0.0, 1.0, 1.0]), "mean": np.array([-2.0, -1.0, 0.0, 1.0, 2.0])}
PAPER_SHARES = (0.02, 0.17, 0.21, 0.42, 0.18)  # Fig. 11: candidate 60 % (18 % strong), baseline 19 % (2 % strong)


class SimulationError(InputError):
    """The study cannot be simulated; the message says why."""


@dataclass(frozen=True)
class Design:
    """Who rates what, of one comparison.

    Each evaluator rates ``trials`` of the ``prompts``, none of them twice, so that every prompt is rated equally often,
    give or take one. ``filled`` is the share of these trials that were answered, lost at random.
    """

    evaluators: int
    trials: int
    prompts: int
    filled: float = 1.0

    def __post_init__(self) -> None:
        if min(self.evaluators, self.trials, self.prompts) < 1:
            raise SimulationError(f"a design needs evaluators, trials and prompts: {self}")
        if self.trials > self.prompts:
            raise SimulationError(f"{self.trials} trials of {self.prompts} prompts would show one pair twice")
        if not 0 < self.filled <= 1 or self.ratings < 1:
            raise SimulationError(f"the share that is filled lies in 0 … 1 and leaves a rating, not {self.filled}")

    @property
    def ratings(self) -> int:
        """Number of ratings, N."""
        return round(self.evaluators * self.trials * self.filled)

    @property
    def ratings_per_evaluator(self) -> float:
        """m_E = Σ n_e² / N, the cluster size that a rating finds itself in; expected, where trials are lost."""
        return 1 + (self.trials - 1) * self.filled

    @property
    def ratings_per_prompt(self) -> float:
        """m_P = Σ n_p² / N, likewise."""
        each, more = divmod(self.evaluators * self.trials, self.prompts)
        squares = (self.prompts - more) * each**2 + more * (each + 1) ** 2
        return 1 + (squares / (self.evaluators * self.trials) - 1) * self.filled

    @property
    def degrees_of_freedom(self) -> int:
        """One less than the smaller number of evaluators and of prompts that are rated."""
        return min(self.evaluators, self.prompts, self.ratings) - 1


@dataclass(frozen=True)
class LatentModel:
    """Opinions of a population: latent lead μ, thresholds, and the variances of evaluators and of prompts."""

    thresholds: tuple[float, float, float, float]  # ascending
    lead: float = 0.0
    evaluator_variance: float = 0.0
    prompt_variance: float = 0.0

    def __post_init__(self) -> None:
        if not all(low <= high for low, high in zip(self.thresholds, self.thresholds[1:], strict=False)):
            raise SimulationError(f"thresholds must ascend: {self.thresholds}")
        if not (min(self.evaluator_variance, self.prompt_variance) >= 0 and self.residual_variance >= 0):
            raise SimulationError(f"variances of evaluators and prompts lie in 0 … 1, and so does their sum: {self}")

    @property
    def residual_variance(self) -> float:
        """What is left of the latent variance 1."""
        return 1.0 - self.evaluator_variance - self.prompt_variance

    @property
    def shares(self) -> Floats:
        """Expected shares of the five categories, −2 first, (5,)."""
        return category_chances(np.array([self.lead]), self.thresholds, 1.0)[0]

    def expected(self, score: str = "net") -> float:
        """Expected net share (−1 … 1) or mean preference (−2 … 2)."""
        return float(self.shares @ SCORES[score])

    def variance(self, score: str = "net") -> float:
        """Variance of one rating's score."""
        return float(self.shares @ SCORES[score] ** 2) - self.expected(score) ** 2

    def correlations(self, score: str = "net") -> tuple[float, float]:
        """Intraclass correlations of the scores, ρ_E and ρ_P."""
        one, other = (self._correlation(r, score) for r in (self.evaluator_variance, self.prompt_variance))
        return one, other

    def _correlation(self, shared: float, score: str) -> float:
        variance = self.variance(score)
        return _shared_variance(self, shared, score) / variance if variance > 0 else 0.0

    def moved_to(self, value: float, score: str = "net") -> LatentModel:
        """Return the model whose expected net share or mean is ``value``, by moving the lead."""
        limit = float(SCORES[score][-1])
        if not -limit < value < limit:
            raise SimulationError(f"the expected {score} must lie between −{limit:g} and {limit:g}, not {value}")
        bounds = [each for each in self.thresholds if math.isfinite(each)]
        low, high = min(bounds, default=0.0) - 9, max(bounds, default=0.0) + 9
        thresholds, steps = np.asarray(self.thresholds), np.diff(SCORES[score])

        def surplus(lead: float) -> float:
            """The expected score less the value: the highest less each step times the chance to stay below it."""
            return limit - float(steps @ special.ndtr(thresholds - lead)) - value

        if surplus(low) * surplus(high) > 0:
            raise SimulationError(f"no lead gives an expected {score} of {value} with these thresholds")
        return replace(self, lead=float(optimize.brentq(surplus, low, high, xtol=1e-12)))


def category_chances(leads: Floats, thresholds: tuple[float, ...], spread: float) -> Floats:
    """Compute the chances of the five categories at latent leads (Q,), (Q, 5); ``spread`` is a standard deviation."""
    edges = (np.asarray(thresholds) - leads[:, None]) / spread
    return np.diff(special.ndtr(edges), axis=1, prepend=0.0, append=1.0)


def joint_chances(model: LatentModel, shared: float, *, shifts: tuple[float, float] = (0.0, 0.0)) -> Floats:
    """Compute the chances of two ratings' categories, (5, 5), that share a normal part of variance ``shared``, below 1.

    Integrated over that part by Gauss and Hermite's rule. ``shifts`` move the lead of the first and the second rating.
    """
    nodes, weights = _normal_rule()
    spread, part = math.sqrt(1.0 - shared), math.sqrt(shared) * nodes
    one, other = (category_chances(model.lead + shift + part, model.thresholds, spread) for shift in shifts)
    joint: Floats = (one * weights[:, None]).T @ other
    return joint


@functools.cache
def _normal_rule() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(96)
    return nodes, weights / weights.sum()


def _shared_variance(model: LatentModel, shared: float, score: str) -> float:
    """Compute the covariance of two scores that share a normal part; all of the variance if everything is shared."""
    if shared >= 1:
        return model.variance(score)
    joint = joint_chances(model, shared)
    return float(SCORES[score] @ joint @ SCORES[score]) - float(joint.sum(axis=1) @ SCORES[score]) ** 2


def matched_model(
    shares: ArrayLike, evaluator_correlation: float, prompt_correlation: float, *, score: str = "net"
) -> LatentModel:
    """Find the model with these shares (5,) and these intraclass correlations of the score, each 0 … 1.

    Raises ``SimulationError`` for shares that do not sum to 1 or hold one category alone, and for correlations that no
    normal opinions can give.
    """
    given = np.asarray(shares, dtype=np.float64)
    if given.shape != (5,) or (given < 0).any() or not math.isclose(given.sum(), 1.0, abs_tol=1e-6):
        raise SimulationError(f"five shares that sum to 1 are needed, not {given.tolist()}")
    a, b, c, d = np.clip(special.ndtri(np.minimum(np.cumsum(given / given.sum())[:-1], 1.0)), -9, 9).tolist()
    base = LatentModel((a, b, c, d))
    if base.variance(score) < 1e-9:
        raise SimulationError("all ratings are equal in these shares, so nothing is left to simulate")
    latent = []
    for kind, wanted in (("evaluators", evaluator_correlation), ("prompts", prompt_correlation)):
        if not 0 <= wanted < 1:
            raise SimulationError(f"the correlation of ratings by {kind} lies in 0 … 1, not {wanted}")
        latent.append(_latent_variance(base, wanted, score))
    if sum(latent) > 1:
        raise SimulationError("evaluators and prompts together would vary more than ratings do: lower a correlation")
    return replace(base, evaluator_variance=latent[0], prompt_variance=latent[1])


def _latent_variance(model: LatentModel, correlation: float, score: str) -> float:
    """Find the latent variance that gives the scores this correlation, which it exceeds."""
    wanted = correlation * model.variance(score)
    if correlation < 1e-9:  # less than the rule of integration tells from 0
        return 0.0
    highest = 0.995  # the rule of integration holds below
    if _shared_variance(model, highest, score) < wanted:
        raise SimulationError(f"a correlation of {correlation} is more than these shares allow")
    return float(optimize.brentq(lambda r: _shared_variance(model, r, score) - wanted, 0.0, highest, xtol=1e-10))


@dataclass(frozen=True, eq=False)
class SimulatedStudy:
    """Ratings of one simulated study, each (N,): preference −2 … 2, evaluator and prompt as numbers."""

    preference: NDArray[np.int64]
    evaluator: NDArray[np.intp]
    prompt: NDArray[np.intp]

    @property
    def groups(self) -> Clusters:
        """The evaluators and prompts of the ratings."""
        return clusters(self.evaluator, self.prompt)


def simulate_study(design: Design, model: LatentModel, rng: np.random.Generator) -> SimulatedStudy:
    """Draw who rates what, what people and prompts are like, and every rating."""
    evaluator, prompt = assignment(design, rng)
    latent = model.lead + math.sqrt(model.evaluator_variance) * rng.normal(size=design.evaluators)[evaluator]
    latent += math.sqrt(model.prompt_variance) * rng.normal(size=design.prompts)[prompt]
    latent += math.sqrt(model.residual_variance) * rng.normal(size=len(evaluator))
    preference = np.searchsorted(np.asarray(model.thresholds), latent).astype(np.int64) - 2
    return SimulatedStudy(preference, evaluator, prompt)


def assignment(design: Design, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Deal the prompts, in a random order that starts anew each round, to the evaluators; no prompt twice to one.

    An evaluator whose hand would hold a prompt twice, where a round ends, swaps it for one later in the new round.
    """
    n = design.evaluators * design.trials
    dealt = np.empty(0, dtype=np.intp)
    while len(dealt) < n:
        begun = dealt[len(dealt) - len(dealt) % design.trials :]  # the hand that the last round left open
        fresh = rng.permutation(design.prompts)
        is_held = np.isin(fresh, begun)
        fresh = np.concatenate([fresh[~is_held], fresh[is_held]])
        # at least the number of open places is not held, as no hand exceeds the number of prompts
        dealt = np.concatenate([dealt, fresh])
    evaluator = np.repeat(np.arange(design.evaluators), design.trials)
    kept = np.sort(rng.permutation(n)[: design.ratings])
    return evaluator[kept], dealt[:n][kept]
