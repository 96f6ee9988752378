"""Simulated choices: two measured qualities in, one of five options out. Always marked as simulated by the caller."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from evenhand.errors import InputError


@dataclass(frozen=True)
class SimulatedEvaluator:
    """How a simulated evaluator turns a difference of quality (−1 … 1, right minus left) into a choice.

    sensitivity  latent units per unit of quality
    noise        standard deviation of the latent noise
    side_bias    latent units towards the right, whatever is shown
    lapse_rate   share of trials answered at random
    slight, much latent thresholds of *slightly* and *much* better
    """

    sensitivity: float = 4.0
    noise: float = 0.5
    side_bias: float = 0.0
    lapse_rate: float = 0.02
    slight: float = 0.4
    much: float = 1.5

    def __post_init__(self) -> None:
        for field in fields(self):
            if not np.isfinite(getattr(self, field.name)):
                raise InputError(f"{field.name} must be finite, not {getattr(self, field.name)}")
        if self.noise < 0 or not 0 <= self.lapse_rate <= 1:
            raise InputError(f"noise {self.noise} must not be negative, lapse_rate {self.lapse_rate} lies in 0 … 1")
        if not 0 <= self.slight <= self.much:
            raise InputError(f"thresholds must ascend from 0: slight {self.slight}, much {self.much}")


def choose(left: float, right: float, person: SimulatedEvaluator, rng: np.random.Generator) -> int:
    """A choice −2 (left much better) … +2 (right much better) from the qualities of the two pictures."""
    lapse, anything, noise = rng.random(), int(rng.integers(-2, 3)), rng.normal()
    if lapse < person.lapse_rate:
        return anything
    latent = person.sensitivity * (right - left) + person.side_bias + person.noise * noise
    strength = int(abs(latent) > person.slight) + int(abs(latent) > person.much)
    return strength if latent > 0 else -strength


def answer_check(expected: int, person: SimulatedEvaluator, rng: np.random.Generator) -> int:
    """A choice where one is right (``expected`` is its sign): much better on that side, except for lapses."""
    lapse, anything = rng.random(), int(rng.integers(-2, 3))
    return anything if lapse < person.lapse_rate else 2 * expected
