"""Perturbed-attention guidance (Ahn et al. 2024, arXiv 2403.17377)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evenhand.generation.methods.attention_guidance import SelfAttentionGuidance
from evenhand.generation.methods.rows import SelfAttention


@dataclass(frozen=True)
class PerturbedAttention(SelfAttentionGuidance):
    """Perturbed-attention guidance: away from the network in whose ``layers`` every patch attends to itself alone.

    strength: the paper's s. layers: as the network names them; the paper changes the middle block.
    first, stop: the window of iterations, behind the switch, in which it acts; None: to the end.
    text_strength, negative_prompt: classifier-free guidance beside it, eq. 4's w.
    """

    method: ClassVar[str] = "perturbed_attention"
    short: ClassVar[str] = "PAG"

    @property
    def change(self) -> SelfAttention:
        """Identity attention."""
        return SelfAttention(self.layers)
