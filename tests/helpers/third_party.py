"""A guidance method as another package would bring it: it remembers, and it draws noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from evenhand.generation.guidance import ClassifierFree, Guidance
from evenhand.generation.methods.rows import EMPTY, PROMPT, Conditioning, Demand, Guided, Memory, Moment, Rule
from evenhand.generation.methods.settings import number, opening_guidance, whole


@dataclass(frozen=True)
class WanderingRule(Rule):
    """p + w·(mean of all differences so far + a tenth of noise)."""

    strength: float

    def combine(self, predictions: Mapping[Conditioning, torch.Tensor], memory: Memory, moment: Moment) -> Guided:
        """Combine the predictions of one picture."""
        difference = predictions[PROMPT] - predictions[EMPTY]
        seen = float(memory["seen"]) if memory else 0.0
        mean = (memory["mean"] * seen + difference) / (seen + 1) if memory else difference
        scale = difference.norm() / difference.numel() ** 0.5
        guided = predictions[PROMPT] + self.strength * (mean + 0.1 * scale * moment.noise())
        return Guided(guided, {"mean": mean, "seen": torch.tensor(seen + 1)})


@dataclass(frozen=True)
class Wandering(Guidance):
    """Classifier-free guidance that averages over iterations and wanders a little."""

    method: ClassVar[str] = "wandering"
    short: ClassVar[str] = "wandering"

    strength: float = number(3.0, "Strength w.", symbol="w", low=0)
    switch_after: int | None = whole(None, "Number of iterations under the opening; none: half.", optional=True)
    opening: ClassifierFree = opening_guidance(ClassifierFree, "Guidance of the iterations before the switch.")

    def after_switch(self, _iteration: int) -> Demand:
        """Return the empty prompt's row."""
        return Demand((EMPTY,), WanderingRule(self.strength))
