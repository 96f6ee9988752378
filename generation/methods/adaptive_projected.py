"""Adaptive projected guidance (Sadat et al. 2024, arXiv 2410.02416)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.classifier_free import ClassifierFree
from evenhand.generation.methods.rows import PROMPT, Conditioning, Demand, Guided, Memory, Rule
from evenhand.generation.methods.settings import number, opening_guidance, text, whole

if TYPE_CHECKING:
    import torch

SMALLEST = 1e-12  # stands in for lengths of zero, as in torch.nn.functional.normalize


@dataclass(frozen=True)
class Projection(Rule):
    """Shorten the difference of two predictions across iterations, and weigh its part along the prompt's own."""

    subtracted: Conditioning
    strength: float
    momentum: float
    norm_limit: float | None
    eta: float

    def combine(
        self, predictions: Mapping[Conditioning, torch.Tensor], memory: Memory, _noise: Callable[[], torch.Tensor]
    ) -> Guided:
        """p + w·(d⊥ + η·d∥), where d is p − n with momentum, at most ``norm_limit`` long; memory: d before that."""
        positive = predictions[PROMPT].double()
        difference = positive - predictions[self.subtracted].double()
        if memory:
            difference = difference + self.momentum * memory["difference"]
        kept = {"difference": difference}
        if self.norm_limit is not None:
            difference = difference * (self.norm_limit / difference.norm().clamp(min=SMALLEST)).clamp(max=1.0)
        direction = positive / positive.norm().clamp(min=SMALLEST)
        parallel = (difference * direction).sum() * direction
        guided = positive + self.strength * (difference - parallel + self.eta * parallel)
        return Guided(guided.to(predictions[PROMPT].dtype), kept)


@dataclass(frozen=True)
class AdaptiveProjected(Guidance):
    """Adaptive projected guidance: classifier-free guidance without most of its step along the prediction itself.

    strength: w, in the paper's terms w − 1: with momentum 0, no limit and η = 1 this is classifier-free guidance.
    momentum: the paper's β; its reverse momentum is below 0. It begins at the switch.
    norm_limit: the paper's r, in the units of the network's output; None: no limit.
    eta: η, the share that is kept of the part along ε(z,c).
    The arithmetic is that of diffusers' AdaptiveProjectedGuidance, on the network's output. The paper projects
    predictions of the picture without noise, where lengths differ by a factor that changes with the iteration.
    """

    method: ClassVar[str] = "adaptive_projected"
    short: ClassVar[str] = "APG"

    strength: float = number(7.5, "Strength w; diffusers' guidance_scale is 1 + w.", symbol="w")
    momentum: float = number(-0.5, "Share β of the earlier differences that is added.", symbol="β", low=-1, high=1)
    norm_limit: float | None = number(15.0, "Longest difference r; none: no limit.", symbol="r", low=0, optional=True)
    eta: float = number(0.0, "Share η of the part along the prediction that is kept.", symbol="η", low=0, high=1)
    negative_prompt: str = text("", "Text in the place of the empty one.")
    switch_after: int | None = whole(None, "Number of iterations under the opening; none: half.", optional=True)
    opening: ClassifierFree = opening_guidance(ClassifierFree, "Guidance of the iterations before the switch.")

    def after_switch(self, _iteration: int) -> Demand:
        """Return the negative prompt's row."""
        subtracted = Conditioning(negative_prompt=self.negative_prompt)
        return Demand((subtracted,), Projection(subtracted, self.strength, self.momentum, self.norm_limit, self.eta))
