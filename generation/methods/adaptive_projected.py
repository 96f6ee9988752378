"""Adaptive projected guidance (Sadat et al. 2024, arXiv 2410.02416)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.classifier_free import ClassifierFree
from evenhand.generation.methods.rows import PROMPT, Conditioning, Demand, Guided, Memory, Moment, Rule
from evenhand.generation.methods.settings import choice, number, opening_guidance, text, whole

if TYPE_CHECKING:
    import torch

Space = Literal["clean", "output"]
SMALLEST = 1e-12  # stands in for lengths of zero, as in torch.nn.functional.normalize


@dataclass(frozen=True)
class Projection(Rule):
    """Shorten the difference of two predictions across iterations, and weigh its part along the prompt's own."""

    subtracted: Conditioning
    strength: float
    momentum: float
    norm_limit: float | None
    eta: float
    space: Space

    def combine(self, predictions: Mapping[Conditioning, torch.Tensor], memory: Memory, moment: Moment) -> Guided:
        """p + w·(d⊥ + η·d∥), where d is p − n with momentum, at most ``norm_limit`` long; memory: d before that."""
        positive, negative = (predictions[row].double() for row in (PROMPT, self.subtracted))
        if self.space == "clean":
            positive, negative = moment.clean(positive), moment.clean(negative)
        difference = positive - negative
        if memory:
            difference = difference + self.momentum * memory["difference"]
        kept = {"difference": difference}
        if self.norm_limit is not None:
            difference = difference * (self.norm_limit / difference.norm().clamp(min=SMALLEST)).clamp(max=1.0)
        direction = positive / positive.norm().clamp(min=SMALLEST)
        parallel = (difference * direction).sum() * direction
        guided = positive + self.strength * (difference - parallel + self.eta * parallel)
        if self.space == "clean":
            guided = moment.prediction_of(guided)
        return Guided(guided.to(predictions[PROMPT].dtype), kept)


@dataclass(frozen=True)
class AdaptiveProjected(Guidance):
    """Adaptive projected guidance: classifier-free guidance without most of its step along the prediction itself.

    strength: w, in the paper's terms w − 1: with momentum 0, no limit and η = 1 this is classifier-free guidance.
    momentum: the paper's β; its reverse momentum is below 0. It begins at the switch.
    norm_limit: the paper's r, a length over all numbers of a picture's latents; None: no limit.
    eta: η, the share that is kept of the part along the prompt's prediction.
    space: the paper projects predictions of the picture without noise (clean); diffusers' AdaptiveProjectedGuidance
        the network's output, whatever it predicts (output). A limit of the one means nothing in the other.
    """

    method: ClassVar[str] = "adaptive_projected"
    short: ClassVar[str] = "APG"

    strength: float = number(7.5, "Strength w; diffusers' guidance_scale is 1 + w.", symbol="w")
    momentum: float = number(-0.5, "Share β of the earlier differences that is added.", symbol="β", low=-1, high=1)
    norm_limit: float | None = number(15.0, "Longest difference r; none: no limit.", symbol="r", low=0, optional=True)
    eta: float = number(0.0, "Share η of the part along the prediction that is kept.", symbol="η", low=0, high=1)
    space: Space = choice(
        "clean", "What is projected: pictures without noise, or the network's output.", get_args(Space), symbol="space"
    )
    negative_prompt: str = text("", "Text in the place of the empty one.")
    switch_after: int | None = whole(None, "Number of iterations under the opening; none: half.", optional=True)
    opening: ClassifierFree = opening_guidance(ClassifierFree, "Guidance of the iterations before the switch.")

    def after_switch(self, _iteration: int) -> Demand:
        """Return the negative prompt's row."""
        subtracted = Conditioning(negative_prompt=self.negative_prompt)
        return Demand(
            (subtracted,), Projection(subtracted, self.strength, self.momentum, self.norm_limit, self.eta, self.space)
        )
