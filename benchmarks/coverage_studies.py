"""Simulate the ratings of whole studies, two comparisons each, with everything that their results must find known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evenhand.analysis.davidson import fit_davidson
from evenhand.analysis.ordinal import fit_cumulative_link
from evenhand.analysis.simulated_study import (
    PAPER_SHARES,
    SCORES,
    Design,
    LatentModel,
    assignment,
    category_chances,
    joint_chances,
    matched_model,
)

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]
DESIGNS = {  # of one comparison; a study has two, so the paper's evaluators rate 30 pairs
    "the paper's: 17 evaluators × 15 of 150 pairs": Design(17, 15, 150),
    "30 prompts: 17 × 15 of 30": Design(17, 15, 30),
    "few evaluators: 5 × 51 of 150": Design(5, 51, 150),
    "many ratings: 51 × 50 of 150": Design(51, 50, 150),
    "half full: 17 × 15 of 150, half of them answered": Design(17, 15, 150, filled=0.5),
}
EFFECTS = {
    "none": (0.0, 0.0),
    "small": (0.03, 0.05),
    "medium": (0.1, 0.2),
    "large": (0.25, 0.15),
}  # ρ_E, ρ_P of the net
LEADS = ("no difference", "the paper's")
EVEN_SHARES = (0.10, 0.295, 0.21, 0.295, 0.10)  # the paper's, of both sides alike
MARGIN = 0.1  # of equivalence, and the second comparison's net where the first has the paper's
RIGHT_BIAS = 0.15  # latent, towards the right, where the first comparison has the paper's lead
SHARED = 0.5  # share of an evaluator's, or a prompt's, variance that both comparisons have in common
CHECKS, PASSED = 3, 0.9  # attention checks of one evaluator, and the chance to pass one
REPEATS, REMEMBERED = 3, 0.5  # of one evaluator; share of the residual that stays the same


@dataclass(frozen=True)
class Drawn:
    """Ratings of one comparison, each (N,)."""

    choice: NDArray[np.int8]  # −2 … 2 towards the right
    on_left: NDArray[np.bool_]  # the candidate's side
    evaluator: Numbers
    prompt: Numbers
    again: NDArray[np.int8]  # the preference that the same person states when asked once more


@dataclass(frozen=True)
class Study:
    """Both comparisons, and how many of its checks each evaluator passed, (E,)."""

    comparisons: tuple[Drawn, Drawn]
    passed: Numbers


@dataclass(frozen=True)
class Population:
    """Opinions about one comparison, and everything that its results estimate."""

    model: LatentModel
    bias: float  # latent, towards the right

    @cached_property
    def by_side(self) -> Floats:
        """Chances of the five preferences with the candidate on the right, and on the left, (2, 5)."""
        leads = self.model.lead + self.bias * np.array([1.0, -1.0])
        return category_chances(leads, self.model.thresholds, 1.0)

    @property
    def shares(self) -> Floats:
        """Chances of the five preferences, (5,)."""
        mean: Floats = self.by_side.mean(axis=0)
        return mean

    @property
    def choices(self) -> Floats:
        """Chances of the five choices as seen, (5,)."""
        mean: Floats = (self.by_side[0] + self.by_side[1, ::-1]) / 2
        return mean

    def joint(self, shared: float) -> Floats:
        """Chances of two ratings' preferences, (5, 5), that share a part; sides fall by chance."""
        sides = (self.bias, -self.bias)
        mean: Floats = np.mean(
            [joint_chances(self.model, shared, shifts=(one, other)) for one in sides for other in sides], axis=0
        )
        return mean

    @cached_property
    def variances(self) -> tuple[float, float, float]:
        """Variances of evaluators, of prompts and of the rest, of preferences −2 … 2."""
        score, shares = SCORES["mean"], self.shares
        mean = float(shares @ score)
        one, other = (
            float(score @ self.joint(part) @ score) - mean**2
            for part in (self.model.evaluator_variance, self.model.prompt_variance)
        )
        return one, other, float(shares @ score**2) - mean**2 - one - other

    @cached_property
    def alpha(self) -> float:
        """Krippendorff's ordinal α of many ratings of many prompts."""
        joint = self.joint(self.model.prompt_variance)
        distance = _ordinal_distance(self.shares)
        expected = float(self.shares @ distance @ self.shares)
        return 1.0 - float((joint * distance).sum()) / expected

    @cached_property
    def ac2(self) -> float:
        """Gwet's AC2 with ordinal weights, of many ratings of many prompts."""
        apart = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
        weights = 1.0 - apart * (apart + 1) / 20
        agreed = float((self.joint(self.model.prompt_variance) * weights).sum())
        chance = float(weights.sum()) / 20 * float((self.shares * (1 - self.shares)).sum())
        return (agreed - chance) / (1 - chance)

    @cached_property
    def link_lead(self) -> float:
        """The lead of the cumulative-link model that is nearest to the shares."""
        times = np.round(self.shares * 1e5).astype(np.intp)
        fit = fit_cumulative_link(np.repeat(np.arange(5), times), np.ones((times.sum(), 1)), count=5, symmetric=True)
        return float(fit.coefficients[0])

    @cached_property
    def repeated(self) -> tuple[float, float]:
        """Chance of the same side, and mean absolute difference, of a pair asked twice, the second time mirrored."""
        part = self.model.evaluator_variance + self.model.prompt_variance + REMEMBERED * self.model.residual_variance
        one, other = (joint_chances(self.model, part, shifts=(bias, -bias)) for bias in (self.bias, -self.bias))
        joint = (one + other) / 2
        signs = np.sign(np.arange(-2, 3))
        same = float(joint[signs[:, None] == signs[None, :]].sum())
        return same, float((joint * np.abs(np.subtract.outer(np.arange(5), np.arange(5)))).sum())


def _ordinal_distance(shares: Floats) -> Floats:
    ranks = np.cumsum(shares) - shares / 2
    squares: Floats = np.subtract.outer(ranks, ranks) ** 2
    return squares


@dataclass(frozen=True)
class Cell:
    """One kind of study."""

    design: str
    effects: str
    lead: str

    @property
    def key(self) -> str:
        """A name for files."""
        return f"{self.design} | {self.effects} | {self.lead}"

    @cached_property
    def populations(self) -> tuple[Population, Population]:
        """The two comparisons: both without a difference, or the paper's and one of the margin of equivalence."""
        even = matched_model(EVEN_SHARES, *EFFECTS[self.effects])
        if self.lead == LEADS[0]:
            return Population(even, 0.0), Population(even, 0.0)
        paper = matched_model(PAPER_SHARES, *EFFECTS[self.effects])
        return Population(paper, RIGHT_BIAS), Population(even.moved_to(MARGIN), 0.0)

    @cached_property
    def davidson(self) -> dict[str, float]:
        """Scores less their mean of baseline and both candidates, and the candidates' leads, nearest to the shares."""
        wins, ties = np.zeros((3, 3)), np.zeros((3, 3))
        for i, each in enumerate(self.populations, start=1):
            shares = each.shares
            wins[i, 0], wins[0, i] = shares[3:].sum(), shares[:2].sum()
            ties[i, 0] = ties[0, i] = shares[2]
        found = fit_davidson(("baseline", "one", "other"), wins, ties).strengths
        above = dict(zip(("baseline", "one", "other"), (found - found.mean()).tolist(), strict=True))
        return above | {"lead": float(found[1] - found[0])}

    def draw(self, rng: np.random.Generator) -> Study:
        """Draw one study."""
        design = DESIGNS[self.design]
        common = rng.normal(size=design.evaluators), rng.normal(size=design.prompts)
        one, other = (self._comparison(each, design, common, rng) for each in self.populations)
        correlation = EFFECTS[self.effects][0]
        scale = 1 / correlation - 1 if correlation else 0
        chance = rng.beta(PASSED * scale, (1 - PASSED) * scale, design.evaluators) if scale else PASSED
        return Study((one, other), rng.binomial(CHECKS, chance, design.evaluators))

    def _comparison(
        self, population: Population, design: Design, common: tuple[Floats, Floats], rng: np.random.Generator
    ) -> Drawn:
        evaluator, prompt = assignment(design, rng)
        model, n = population.model, len(evaluator)
        latent = np.full(n, model.lead)
        for effect, index, variance in (
            (common[0], evaluator, model.evaluator_variance),
            (common[1], prompt, model.prompt_variance),
        ):
            own = math.sqrt(SHARED) * effect + math.sqrt(1 - SHARED) * rng.normal(size=len(effect))
            latent += math.sqrt(variance) * own[index]
        on_left = _sides(evaluator, rng)
        kept = math.sqrt(REMEMBERED) * rng.normal(size=n)
        spread, fresh = math.sqrt(model.residual_variance), math.sqrt(1 - REMEMBERED)
        towards_right = np.where(on_left, -population.bias, population.bias)
        first = _categories(latent + spread * (kept + fresh * rng.normal(size=n)) + towards_right, model)
        again = _categories(latent + spread * (kept + fresh * rng.normal(size=n)) - towards_right, model)
        return Drawn(np.where(on_left, -first, first).astype(np.int8), on_left, evaluator, prompt, again)


def _categories(latent: Floats, model: LatentModel) -> NDArray[np.int8]:
    return (np.searchsorted(np.asarray(model.thresholds), latent) - 2).astype(np.int8)


def _sides(evaluator: Numbers, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Put the candidate to the left in every other rating of an evaluator, in a random order."""
    order = np.lexsort([rng.random(len(evaluator)), evaluator])
    on_left = np.empty(len(evaluator), np.bool_)
    on_left[order] = (np.arange(len(evaluator)) + rng.integers(2)) % 2 == 0
    return on_left


def cells() -> list[Cell]:
    """Return all kinds of studies that are simulated."""
    return [Cell(*each) for each in ((d, e, lead) for d in DESIGNS for e in EFFECTS for lead in LEADS)]
