"""What perturbed-attention and smoothed-energy guidance share: away from the network with changed self-attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.classifier_free import UNGUIDED, ClassifierFree, extrapolation
from evenhand.generation.methods.rows import PROMPT, Conditioning, Demand, Guided, Memory, Moment, Rule, SelfAttention
from evenhand.generation.methods.settings import (
    GuidanceError,
    layer_names,
    number,
    opening_guidance,
    text,
    whole,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Differences(Rule):
    """p + Σ w·(p − n) over ``terms``, pairs of a row n and its strength w."""

    terms: tuple[tuple[Conditioning, float], ...]

    elementwise: ClassVar[bool] = True

    def combine(self, predictions: Mapping[Conditioning, torch.Tensor], _memory: Memory, _moment: Moment) -> Guided:
        """Add the differences in order."""
        positive = predictions[PROMPT]
        guided = positive
        for row, strength in self.terms:
            guided = guided + strength * (positive - predictions[row])
        return Guided(guided)


@dataclass(frozen=True)
class SelfAttentionGuidance(Guidance):
    """ε(z,c) + s·(ε(z,c) − ε̂(z,c)), where ε̂ is the network with ``change`` made to its self-attention."""

    strength: float = number(3.0, "Strength s.", symbol="s")
    layers: tuple[str, ...] = layer_names(
        ("mid_block",), "Blocks or modules of the network whose self-attention is changed.", symbol="layers"
    )
    first: int = whole(0, "First iteration that is guided; also behind the switch.")
    stop: int | None = whole(None, "First iteration that is not guided any more.", optional=True)
    text_strength: float = number(
        0.0, "Strength w of classifier-free guidance beside it; 0: none, and one row less.", symbol="w"
    )
    negative_prompt: str = text("", "Text in the place of the empty one, for the strength w.")
    switch_after: int | None = whole(None, "Number of iterations under the opening; none: half.", optional=True)
    opening: ClassifierFree = opening_guidance(ClassifierFree, "Guidance of the iterations before the switch.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stop is not None and self.stop <= self.first:
            raise GuidanceError(f"stop must lie beyond first ({self.first}), not {self.stop!r}")

    @property
    def change(self) -> SelfAttention:
        """The change of self-attention."""
        raise NotImplementedError

    def after_switch(self, iteration: int) -> Demand:
        """Return the row with changed self-attention inside the window, and the negative prompt's where it counts."""
        negative = Conditioning(negative_prompt=self.negative_prompt)
        inside = self.first <= iteration and (self.stop is None or iteration < self.stop)
        if not inside:  # the same step as classifier-free guidance, so that the two share it
            return extrapolation(negative, self.text_strength) if self.text_strength else UNGUIDED
        terms = [(negative, self.text_strength)] if self.text_strength else []
        terms.append((Conditioning(self_attention=self.change), self.strength))
        return Demand(tuple(row for row, _ in terms), Differences(tuple(terms)))
