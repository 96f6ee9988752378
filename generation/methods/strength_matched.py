"""Classifier-free guidance with the strength that another method would have at the same place of the trajectory.

The control for methods that gain by strength alone (Xie et al. 2026, arXiv 2602.22570), of each picture by itself and
without a measurement beforehand. ``scheduled_classifier_free.matched_to`` makes the other control: the mean strength
that was measured along the method's own trajectories.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.classifier_free import ClassifierFree
from evenhand.generation.methods.rows import EMPTY, PROMPT, Conditioning, Demand, Guided, Memory, Moment, Rule
from evenhand.generation.methods.segmentation_free import SegmentationFree
from evenhand.generation.methods.settings import GuidanceError, nested_guidance, number, opening_guidance, whole

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class AlongText(Rule):
    """What a rule's step has of classifier-free guidance's direction, and nothing beside."""

    rule: Rule
    strength: float

    def combine(self, predictions: Mapping[Conditioning, torch.Tensor], memory: Memory, moment: Moment) -> Guided:
        """p + s·(ω − 1)·d with d = p − ε(∅), v the rule's prediction over ε(∅), and ω = ⟨v,d⟩/⟨d,d⟩; p where d is 0."""
        guided = self.rule.combine(predictions, memory, moment)
        positive, empty = (predictions[row].double() for row in (PROMPT, EMPTY))
        direction = positive - empty
        length = (direction * direction).sum()
        if length == 0:
            return Guided(predictions[PROMPT], guided.memory)
        omega = ((guided.prediction.double() - empty) * direction).sum() / length
        matched = positive + self.strength * (omega - 1.0) * direction
        return Guided(matched.to(predictions[PROMPT].dtype), guided.memory)


@dataclass(frozen=True)
class StrengthMatched(Guidance):
    """Classifier-free guidance at the effective strength ω that ``guidance`` has at each iteration, per picture.

    guidance: the method whose strength is taken: what it does after its own switch, at each iteration after this one's.
    strength: what ω − 1 is multiplied by; 1 matches.
    """

    method: ClassVar[str] = "strength_matched"
    short: ClassVar[str] = "matched CFG"

    guidance: Guidance = nested_guidance(SegmentationFree, "The method whose strength is matched.")
    strength: float = number(1.0, "What the matched strength ω − 1 is multiplied by.", symbol="×")
    switch_after: int | None = whole(None, "Number of iterations under the opening; none: half.", optional=True)
    opening: ClassifierFree = opening_guidance(ClassifierFree, "Guidance of the iterations before the switch.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.guidance.schedulers or self.guidance.method in (self.method, "scheduled_classifier_free"):
            raise GuidanceError(f"guidance cannot be {self.guidance.method}: its strength cannot be matched")

    def after_switch(self, iteration: int) -> Demand:
        """Return the other method's rows and the empty prompt's."""
        demand = self.guidance.after_switch(iteration)
        rows = demand.rows if EMPTY in demand.rows else (*demand.rows, EMPTY)
        return Demand(rows, AlongText(demand.rule, self.strength))

    def label(self) -> str:
        """Name the arm by the method that it matches."""
        times = f", ×{self.strength:g}" if self.strength != 1 else ""
        return f"{self.short} to {self.guidance.label()}{times}{self.switch_label}"

    def short_name(self) -> str:
        """Name the arm in figures."""
        return f"{self.short} to {self.guidance.short_name()}"


def matched_per_picture(guidance: Guidance) -> StrengthMatched:
    """Return the arm of equal strength for ``guidance``, with the same opening and switch, so that both share it."""
    switch_after: int | None = getattr(guidance, "switch_after", None)
    opening = getattr(guidance, "opening", None) or ClassifierFree()
    return StrengthMatched(guidance=guidance, switch_after=switch_after, opening=opening)
