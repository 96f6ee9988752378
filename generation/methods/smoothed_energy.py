"""Smoothed-energy guidance (Hong 2024, arXiv 2408.00760)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from evenhand.generation.methods.attention_guidance import SelfAttentionGuidance
from evenhand.generation.methods.rows import SelfAttention
from evenhand.generation.methods.settings import number


@dataclass(frozen=True)
class SmoothedEnergy(SelfAttentionGuidance):
    """Smoothed-energy guidance: away from the network in whose ``layers`` self-attention's queries are blurred.

    strength: the paper's γ. layers: as the network names them; the paper changes the middle block.
    first, stop: the window of iterations, behind the switch, in which it acts; None: to the end.
    text_strength, negative_prompt: classifier-free guidance beside it, eq. 4's w.
    blur: σ, in patches of the layer; None: infinite, all queries become their mean.
    """

    method: ClassVar[str] = "smoothed_energy"
    short: ClassVar[str] = "SEG"

    blur: float | None = number(
        10.0, "Standard deviation σ of the blur, in patches; none: infinite.", symbol="σ", low=0, optional=True
    )

    @property
    def change(self) -> SelfAttention:
        """Blurred queries."""
        return SelfAttention(self.layers, math.inf if self.blur is None else self.blur)
