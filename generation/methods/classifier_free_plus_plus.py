"""CFG++ (Chung et al. 2024, arXiv 2406.08070)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.classifier_free import ClassifierFree
from evenhand.generation.methods.rows import PROMPT, Conditioning, Demand, Guided, Memory, Moment, Rule
from evenhand.generation.methods.settings import number, opening_guidance, text, whole

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Interpolation(Rule):
    """n + λ·(p − n), and the step adds the noise of n again (Algorithm 2 of the paper)."""

    subtracted: Conditioning
    strength: float

    elementwise: ClassVar[bool] = True

    def combine(self, predictions: Mapping[Conditioning, torch.Tensor], _memory: Memory, _moment: Moment) -> Guided:
        """Combine the predictions."""
        negative = predictions[self.subtracted]
        return Guided(negative + self.strength * (predictions[PROMPT] - negative), renoise=negative)


@dataclass(frozen=True)
class ClassifierFreePlusPlus(Guidance):
    """CFG++: the picture without noise from n + λ·(p − n), and the noise that a DDIM step adds again from n alone.

    strength: the paper's λ in 0 … 1. At 0 the picture is the plain one of the negative prompt, not of the prompt.
    negative_prompt: stands in for ∅, whose prediction is n.
    The step is a DDIM step of its own, so no other scheduler is taken.
    """

    method: ClassVar[str] = "classifier_free_plus_plus"
    short: ClassVar[str] = "CFG++"
    schedulers: ClassVar[tuple[str, ...]] = ("ddim",)
    at_zero: ClassVar[Literal["prompt", "negative prompt"]] = "negative prompt"

    strength: float = number(0.6, "Strength λ.", symbol="λ", low=0, high=1)
    negative_prompt: str = text("", "Text in the place of the empty one.")
    switch_after: int | None = whole(None, "Number of iterations under the opening; none: half.", optional=True)
    opening: ClassifierFree = opening_guidance(ClassifierFree, "Guidance of the iterations before the switch.")

    def after_switch(self, _iteration: int) -> Demand:
        """Return the negative prompt's row."""
        negative = Conditioning(negative_prompt=self.negative_prompt)
        return Demand((negative,), Interpolation(negative, self.strength))
