"""Classifier-free guidance with a strength of its own at each iteration, and the arm that matches another's strength.

Most guidance methods also raise the effective strength of classifier-free guidance, and gain by that (Xie et al. 2026,
arXiv 2602.22570). An arm with the same effective strength at every iteration differs from the method only in its
direction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.classifier_free import ClassifierFree, extrapolation
from evenhand.generation.methods.rows import EMPTY, Demand
from evenhand.generation.methods.settings import GuidanceError, number, numbers, opening_guidance, whole


@dataclass(frozen=True)
class ScheduledClassifierFree(Guidance):
    """Classifier-free guidance, eq. 4, with the strength w of the schedule's entry at each iteration after the switch.

    strengths: the first entry is for the first iteration after the switch; the last one holds to the end.
    strength: what all entries are multiplied by.
    """

    method: ClassVar[str] = "scheduled_classifier_free"
    short: ClassVar[str] = "CFG schedule"

    strengths: tuple[float, ...] = numbers((7.5,), "Strength w at each iteration after the switch; the last one holds.")
    strength: float = number(1.0, "What all strengths are multiplied by.", symbol="×")
    switch_after: int = whole(0, "Number of iterations under the opening.")
    opening: ClassifierFree = opening_guidance(ClassifierFree, "Guidance of the iterations before the switch.")

    def after_switch(self, iteration: int) -> Demand:
        """Return the empty prompt's row, with the entry of this iteration."""
        place = min(max(iteration - self.switch_after, 0), len(self.strengths) - 1)
        return extrapolation(EMPTY, self.strength * self.strengths[place])

    def label(self) -> str:
        """Name the arm by the first and the last entry."""
        scale = f" ×{self.strength:g}" if self.strength != 1 else ""
        return f"{self.short} w={self._span}{scale}{self.switch_label}"

    def short_name(self) -> str:
        """Name the arm in figures."""
        return f"{self.short} w = {self._span}"

    @property
    def _span(self) -> str:
        first, last = self.strengths[0], self.strengths[-1]
        return f"{first:.3g}" if len(self.strengths) == 1 else f"{first:.3g}…{last:.3g}"


def matched_to(guidance: Guidance, effective: Sequence[Sequence[float]]) -> ScheduledClassifierFree:
    """Return classifier-free guidance with the mean effective strength that ``guidance`` had at each iteration.

    effective: ω of pictures (rows) at the T iterations, in diffusers' convention, as ``generate`` measures them. Until
    the switch the arm is the method's own opening, so that both share those iterations. Raises GuidanceError for no
    pictures, rows of unequal length, and an iteration after the switch at which no picture has a finite strength.
    """
    if not effective or not len(effective[0]) or len({len(row) for row in effective}) > 1:
        raise GuidanceError("effective strengths must be rows of equal length, at least one picture and one iteration")
    switch = guidance.switch_iteration(len(effective[0]))
    strengths = []
    for iteration, column in enumerate(zip(*effective, strict=True)):
        known = [float(each) for each in column if math.isfinite(each)]
        if iteration < switch:
            continue
        if not known:
            raise GuidanceError(f"no picture has an effective strength at iteration {iteration}")
        strengths.append(math.fsum(known) / len(known) - 1.0)  # from diffusers' convention to the paper's
    opening = getattr(guidance, "opening", None) or ClassifierFree()
    if not strengths:
        raise GuidanceError(f"{guidance.label()} is its opening at every iteration: there is nothing to match")
    return ScheduledClassifierFree(strengths=tuple(strengths), switch_after=switch, opening=opening)
