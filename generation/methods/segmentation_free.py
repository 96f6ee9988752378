"""Segmentation-free guidance (eq. 8 to 11, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.classifier_free import ClassifierFree, extrapolation
from evenhand.generation.methods.rows import Conditioning, Demand, Heads, Tokens
from evenhand.generation.methods.settings import choice, number, opening_guidance, whole


@dataclass(frozen=True)
class SegmentationFree(Guidance):
    """Segmentation-free guidance, eq. 8–11 and Algorithm 1: (1+w̄)·ε(z,c) − w̄·ε̄(z,c) after the switch.

    scale: the paper's a, finite; the semantic token's attention weight is multiplied by −a (a < 0 is for tests).
    strength: the paper's w̄, finite.
    switch_after: t_s ≥ 0, the number of iterations under ``opening`` before the switch; None means T // 2.
    opening: the classifier-free guidance of the first t_s iterations.
    heads: the semantic token is the argmax of the head-mean attention, or each head's own.
    tokens: every position i > 0 of the padded prompt may be chosen, or only the prompt's own.
    """

    method: ClassVar[str] = "segmentation_free"
    short: ClassVar[str] = "SFG"

    scale: float = number(10.0, "Scale a: the semantic token's attention weight is multiplied by −a.", symbol="a")
    strength: float = number(2.5, "Strength w̄ after the switch.", symbol="w̄")
    switch_after: int | None = whole(None, "Number of iterations under the opening; none: half.", optional=True)
    opening: ClassifierFree = opening_guidance(ClassifierFree, "Guidance of the iterations before the switch.")
    heads: Heads = choice("mean", "Semantic token of the heads' mean, or of each head.", get_args(Heads))
    tokens: Tokens = choice("all", "Tokens that may be the semantic one.", get_args(Tokens))

    def after_switch(self, _iteration: int) -> Demand:
        """Return the prompt's row with its semantic tokens' attention changed."""
        perturbed = Conditioning(scale=self.scale, heads=self.heads, tokens=self.tokens)
        return extrapolation(perturbed, self.strength)

    @property
    def diffusers_scale(self) -> float:
        """The strength after the switch in diffusers' convention: 1 + w̄."""
        return 1.0 + self.strength

    def label(self) -> str:
        """Name the arm by a, w̄ and the switch, and by readings that are not the default."""
        options = ", per head" if self.heads != "mean" else ""
        options += ", prompt tokens" if self.tokens != "all" else ""
        return f"{self.short} a={self.scale:g}, w̄={self.strength:g}{self.switch_label}{options}"

    def short_name(self) -> str:
        """Name the arm in figures by a."""
        return f"a = {self.scale:g}"
