"""Classifier-free guidance (eq. 4; Ho and Salimans 2022), in a limited interval where one is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.rows import PROMPT, Conditioning, Demand, Guided, Memory, Moment, Rule
from evenhand.generation.methods.settings import GuidanceError, number, opening_guidance, text, whole

if TYPE_CHECKING:
    import torch

Prediction = TypeVar("Prediction")


def combine(negative: Prediction, positive: Prediction, strength: float) -> Prediction:
    """The guided prediction n + (1+w)·(p − n) (eq. 4 and 8), for floats, arrays or tensors of one shape."""
    return negative + (1.0 + strength) * (positive - negative)  # type: ignore[operator]


@dataclass(frozen=True)
class Extrapolation(Rule):
    """Eq. 4 and 8: away from the prediction that is subtracted, with ``strength`` w."""

    subtracted: Conditioning
    strength: float

    elementwise: ClassVar[bool] = True

    def combine(self, predictions: Mapping[Conditioning, torch.Tensor], _memory: Memory, _moment: Moment) -> Guided:
        """Combine the predictions."""
        return Guided(combine(predictions[self.subtracted], predictions[PROMPT], self.strength))


@dataclass(frozen=True)
class Rescaling(Rule):
    """Eq. 4, brought back towards the spread of the prompt's own prediction (Lin et al. 2023, eq. 14 to 16)."""

    subtracted: Conditioning
    strength: float
    share: float

    def combine(self, predictions: Mapping[Conditioning, torch.Tensor], _memory: Memory, _moment: Moment) -> Guided:
        """φ·g·std(p)/std(g) + (1 − φ)·g, where g is eq. 4's prediction; one without spread stays as it is."""
        positive = predictions[PROMPT].double()
        guided = combine(predictions[self.subtracted].double(), positive, self.strength)
        spread = guided.std()
        ratio = positive.std() / spread if spread > 0 else 1.0
        rescaled = guided * (self.share * ratio + 1.0 - self.share)
        return Guided(rescaled.to(predictions[PROMPT].dtype))


# n + 1·(p − n) with n = p is p itself, bit for bit.
UNGUIDED = Demand((), Extrapolation(PROMPT, 0.0))


def extrapolation(subtracted: Conditioning, strength: float) -> Demand:
    """Return the demand of a method that subtracts one row: it and the prompt's own, combined by eq. 4."""
    return Demand((subtracted,), Extrapolation(subtracted, strength))


@dataclass(frozen=True)
class ClassifierFree(Guidance):
    """Classifier-free guidance, eq. 4: (1+w)·ε(z,c) − w·ε(z,∅).

    strength: the paper's w, finite; diffusers' ``guidance_scale`` is 1 + w.
    negative_prompt: stands in for ∅ (Fig. 1); the empty text is ∅ itself.
    first, stop: only iterations first … stop − 1 are guided, the others take ε(z,c) alone, at half the cost
        (a limited interval: Kynkäänniemi et al. 2024, arXiv 2404.07724, who give it in noise levels). None: to the end.
    rescale: φ of Lin et al. 2023 (arXiv 2305.08891): how far the prediction is brought back to the spread of ε(z,c).
    switch_after, opening: another classifier-free guidance for the first iterations, where one is given.
    """

    method: ClassVar[str] = "classifier_free"
    short: ClassVar[str] = "CFG"

    strength: float = number(7.5, "Strength w; diffusers' guidance_scale is 1 + w.", symbol="w")
    negative_prompt: str = text("", "Text in the place of the empty one.")
    first: int = whole(0, "First iteration that is guided.", later=True)
    stop: int | None = whole(None, "First iteration that is not guided any more.", optional=True, later=True)
    rescale: float = number(
        0.0, "Share φ of the prediction that is brought back to the plain one's spread.", low=0, high=1, later=True
    )
    switch_after: int = whole(0, "Number of iterations under the opening.", later=True)
    opening: ClassifierFree | None = opening_guidance(
        lambda: None, "Guidance of the iterations before the switch.", optional=True, later=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stop is not None and self.stop <= self.first:
            raise GuidanceError(f"stop must lie beyond first ({self.first}), not {self.stop!r}")
        if bool(self.switch_after) != (self.opening is not None):
            raise GuidanceError(
                f"switch_after and opening go together, not {self.switch_after!r} with {self.opening!r}"
            )

    def guides(self, iteration: int) -> bool:
        """Whether ``iteration`` (0 … T−1) lies in the interval that is guided."""
        return self.first <= iteration and (self.stop is None or iteration < self.stop)

    def after_switch(self, iteration: int) -> Demand:
        """Return the negative prompt's row, inside the interval."""
        if not self.guides(iteration):
            return UNGUIDED
        negative = Conditioning(negative_prompt=self.negative_prompt)
        if not self.rescale:
            return extrapolation(negative, self.strength)
        return Demand((negative,), Rescaling(negative, self.strength, self.rescale))

    @property
    def diffusers_scale(self) -> float:
        """The same strength in diffusers' convention, ``uncond + scale·(cond − uncond)``: 1 + w."""
        return 1.0 + self.strength

    def _written(self, name: str) -> bool:
        interval = ("first", "stop")  # arms have been stored with both or none
        return any(super(ClassifierFree, self)._written(each) for each in (interval if name in interval else (name,)))

    def label(self) -> str:
        """Name the arm, with the strength in the paper's and in diffusers' convention."""
        negative = f", not “{self.negative_prompt}”" if self.negative_prompt else ""
        switch = self.switch_label if self.opening else ""
        strength = f"w={self.strength:g} (diffusers {self.diffusers_scale:g})"
        rescale = f", φ={self.rescale:g}" if self.rescale else ""
        return f"{self.short} {strength}{negative}{rescale}{self._interval_label}{switch}"

    @property
    def _interval_label(self) -> str:
        if not self.first and self.stop is None:
            return ""
        return f", iterations {self.first} to {'the last' if self.stop is None else self.stop - 1}"
