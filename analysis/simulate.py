"""Simulate choices: two measured qualities in, one of five options out; callers label them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from evenhand.errors import InputError


@dataclass(frozen=True)
class SimulatedEvaluator:
    """Parameters by which a simulated evaluator turns a difference of quality (−1 … 1, right minus left) into a choice.

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
    """Choose −2 (left much better) … +2 (right much better) from the qualities of the two pictures."""
    lapse_draw, random_choice, noise = rng.random(), int(rng.integers(-2, 3)), rng.normal()
    if lapse_draw < person.lapse_rate:
        return random_choice
    latent = person.sensitivity * (right - left) + person.side_bias + person.noise * noise
    strength = int(abs(latent) > person.slight) + int(abs(latent) > person.much)
    return strength if latent > 0 else -strength


def answer_check(expected: int, person: SimulatedEvaluator, rng: np.random.Generator) -> int:
    """Answer an attention check (``expected``: sign of the right side): much better on that side, except for lapses."""
    lapse_draw, random_choice = rng.random(), int(rng.integers(-2, 3))
    return random_choice if lapse_draw < person.lapse_rate else 2 * expected
