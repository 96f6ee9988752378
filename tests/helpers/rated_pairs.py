"""Simulate pairs that people rated and a metric scored, with what their agreement is in all pairs known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
PAIRS = 2  # of one prompt: as many as a study has comparisons
POPULATION = 200_000
MUCH = 1.5  # latent threshold of “much better”


@dataclass(frozen=True)
class Rows:
    """Differences, preferences, prompts and evaluators of rows, each (N,)."""

    difference: Floats
    preference: Floats
    prompt: NDArray[np.intp]
    evaluator: NDArray[np.intp] | None


@dataclass(frozen=True)
class Kind:
    """How people and a metric judge pairs.

    ratings     of one pair, which a row has the mean of
    noise       standard deviation of the metric's own error, where pairs differ by about 1
    slight      latent size of a difference that people begin to see
    evaluators  who rate, where a row is a rating; 0: rows have means
    """

    ratings: int = 1
    noise: float = 1.0
    slight: float = 0.4
    evaluators: int = 0

    def draw(self, prompts: int, rng: np.random.Generator) -> Rows:
        """Draw a study of two pairs a prompt."""
        prompt = np.repeat(np.arange(prompts), PAIRS)
        people = None
        if self.evaluators:
            people = np.argsort(rng.random((len(prompt), self.evaluators)), axis=1)[:, : self.ratings].reshape(-1)
        quality, difference = self._pairs(prompts, rng)
        if people is None:
            return Rows(difference, self._means(quality, rng), prompt, None)
        lean = 0.4 * rng.normal(size=self.evaluators)[people]
        answers = self._answers(np.repeat(quality, self.ratings) + lean, rng)
        return Rows(np.repeat(difference, self.ratings), answers, np.repeat(prompt, self.ratings), people)

    @cached_property
    def population(self) -> tuple[Floats, Floats]:
        """Sizes at which the metric's side changes, ascending, and the accuracy from there on, (N,) and (N + 1,)."""
        difference, side = self._independent
        met, tied = np.sign(difference) == side, side == 0
        order = np.argsort(np.abs(difference))
        gained = np.cumsum(tied[order].astype(np.float64) - met[order])
        return np.abs(difference)[order], met.mean() + np.append(0.0, gained) / len(side)

    def accuracy(self, threshold: float) -> float:
        """Accuracy of a threshold on all pairs."""
        sizes, accuracies = self.population
        return float(accuracies[np.searchsorted(sizes, threshold, side="right")])

    @cached_property
    def tau(self) -> float:
        """τ-b of all pairs."""
        return float(stats.kendalltau(*self._values).statistic)

    @property
    def _independent(self) -> tuple[Floats, Floats]:
        return self._values[0], np.sign(self._values[1])

    @cached_property
    def _values(self) -> tuple[Floats, Floats]:
        """Differences and preferences of pairs of which no two have a prompt or an evaluator in common."""
        rng = np.random.default_rng(1)
        quality, difference = (each[::PAIRS] for each in self._pairs(POPULATION, rng))
        if self.evaluators:
            return difference, self._answers(quality + 0.4 * rng.normal(size=len(quality)), rng)
        return difference, self._means(quality, rng)

    def _pairs(self, prompts: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Latent quality and the metric's difference, whose errors are alike within a prompt."""
        prompt = np.repeat(np.arange(prompts), PAIRS)
        quality = 0.4 + 0.5 * rng.normal(size=prompts)[prompt] + 0.8 * rng.normal(size=len(prompt))
        error = 0.6 * rng.normal(size=prompts)[prompt] + 0.8 * rng.normal(size=len(prompt))
        return quality, 0.02 * (quality + self.noise * error)

    def _means(self, quality: Floats, rng: np.random.Generator) -> Floats:
        return np.asarray(np.mean([self._answers(quality, rng) for _ in range(self.ratings)], axis=0))

    def _answers(self, quality: Floats, rng: np.random.Generator) -> Floats:
        seen = quality + 0.7 * rng.normal(size=len(quality))
        size = (np.abs(seen) > self.slight).astype(np.float64) + (np.abs(seen) > MUCH)
        return np.asarray(np.sign(seen) * size)


KINDS = {
    "one rating a pair": Kind(),
    "means of three ratings": Kind(ratings=3),
    "most pairs equal to people": Kind(noise=0.7, slight=1.2),
    "a weak metric": Kind(noise=4.0),
    "two ratings a pair, by 17 people": Kind(ratings=2, evaluators=17),
}
