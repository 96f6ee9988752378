"""Define what guidance methods may ask of the network: rows, each a text with a change of attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

Heads = Literal["mean", "per_head"]
Tokens = Literal["all", "prompt"]
Memory = Mapping[str, Any]  # tensors and the like: what a rule keeps of one picture from iteration to iteration


@dataclass(frozen=True)
class SelfAttention:
    """A change of self-attention in ``layers``, names of modules or of blocks that hold them (``mid_block``).

    blur: σ in patches of a Gaussian over the queries, infinite for their mean. None: no blur, but identity attention,
    in which every patch attends to itself alone.
    """

    layers: tuple[str, ...]
    blur: float | None = None


@dataclass(frozen=True)
class Conditioning:
    """The inputs of one network row beside its latent.

    negative_prompt: a text that stands in for ∅, or None for the image's own prompt.
    scale: the a of eq. 10, or None for plain cross-attention; heads and tokens matter only with a scale.
    self_attention: a change of self-attention, or None for the network's own.
    """

    negative_prompt: str | None = None
    scale: float | None = None
    heads: Heads = "mean"
    tokens: Tokens = "all"
    self_attention: SelfAttention | None = None


PROMPT = Conditioning()
EMPTY = Conditioning(negative_prompt="")


@dataclass(frozen=True)
class Moment:
    """Where in a trajectory predictions are combined.

    latents: the network's input √ᾱ·x + √(1−ᾱ)·ε, of the shape of each prediction. signal: ᾱ.
    output: what the network predicts, in diffusers' words: ``epsilon``, ``v_prediction`` or ``sample``.
    noise: draws standard normal noise of that shape, which depends on the picture's seed and the network call alone.
    iteration: 0 … T−1. steps: T. timestep: the scheduler's, as the network is told it.
    """

    latents: torch.Tensor
    signal: float
    output: str
    noise: Callable[[], torch.Tensor]
    iteration: int = 0
    steps: int = 1
    timestep: torch.Tensor | None = None

    def clean(self, prediction: torch.Tensor) -> torch.Tensor:
        """Return the picture without noise, x, that a prediction stands for."""
        keeps, adds = self.signal**0.5, (1 - self.signal) ** 0.5
        latents = self.latents.to(prediction.dtype)
        if self.output == "epsilon":
            return (latents - adds * prediction) / keeps
        return keeps * latents - adds * prediction if self.output == "v_prediction" else prediction

    def prediction_of(self, clean: torch.Tensor) -> torch.Tensor:
        """Return the prediction that stands for a picture without noise."""
        keeps, adds = self.signal**0.5, (1 - self.signal) ** 0.5
        latents = self.latents.to(clean.dtype)
        if self.output == "epsilon":
            return (latents - keeps * clean) / adds
        return (keeps * latents - clean) / adds if self.output == "v_prediction" else clean


@dataclass(frozen=True)
class Guided:
    """What a rule makes of predictions.

    prediction: the guided prediction, of the shape of each prediction.
    memory: what the rule wants back at the next iteration of this picture and branch, if it is asked again then.
    renoise: the prediction whose noise a DDIM step adds again, where it is not the guided one. A method whose rules
        give one must name ``ddim`` as its only scheduler.
    """

    prediction: torch.Tensor
    memory: Memory = field(default_factory=dict)
    renoise: torch.Tensor | None = None


@dataclass(frozen=True)
class Rule:
    """How the predictions of an arm's rows combine. Its fields are its settings: equal rules are one step.

    elementwise: the rule works number by number and keeps nothing, so it may take all pictures of a batch at once.
    Every other rule gets one picture at a time, so that no picture depends on its batch.
    """

    elementwise: ClassVar[bool] = False

    def combine(self, predictions: Mapping[Conditioning, torch.Tensor], memory: Memory, moment: Moment) -> Guided:
        """Combine the predictions of one picture, each (C, h, w); of elementwise rules (b, C, h, w).

        predictions: of the demanded rows and of ``PROMPT``. memory: what this rule returned for the picture in the
        iteration before; empty at first, and after another rule.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Demand:
    """What an arm needs at an iteration. rows: beside the prompt's own, in the order in which they are computed."""

    rows: tuple[Conditioning, ...]
    rule: Rule
