"""An arm that another checkpoint draws: its guidance, and what differs from the study's own recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.classifier_free import ClassifierFree
from evenhand.generation.methods.rows import Demand
from evenhand.generation.methods.settings import GuidanceError, nested_guidance, text, whole

LONGEST = 500  # characters of a checkpoint's name, as a recipe holds them


def public_name(name: str) -> str:
    """Return a checkpoint's or encoder's name without the folders of a machine's path, which may name its user.

    A hub's id, which has an owner and one slash, stays as it is.
    """
    parts = [part for part in re.split(r"[\\/]+", name) if part]
    is_path = name.startswith((".", "~", "/", "\\")) or ":" in name or len(parts) > 2
    return parts[-1] if is_path and parts else name


@dataclass(frozen=True)
class OtherCheckpoint(Guidance):
    """A guidance under another checkpoint. A study resolves it to a recipe; ``generate`` never gets it.

    checkpoint: a diffusers folder or a hub id. scheduler, dtype: names; empty: the study's. steps: None: the study's.
    The size of the pictures is the study's.
    """

    method: ClassVar[str] = "other_checkpoint"
    short: ClassVar[str] = "other checkpoint"
    generated_here: ClassVar[bool] = False

    guidance: Guidance = nested_guidance(ClassifierFree, "The guidance.")
    checkpoint: str = text("", "A diffusers folder or a hub id.")
    scheduler: str = text("", "Empty: the study's.")
    steps: int | None = whole(None, "Iterations T; none: the study's.", optional=True)
    dtype: str = text("", "Precision: float32, float16 or bfloat16; empty: the study's.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.checkpoint.strip() or len(self.checkpoint) > LONGEST or "\0" in self.checkpoint:
            raise GuidanceError(f"checkpoint must be a folder or a hub id of at most {LONGEST} characters")
        if self.dtype not in ("", "float32", "float16", "bfloat16"):
            raise GuidanceError(f"dtype must be float32, float16 or bfloat16, not {self.dtype!r}")
        if self.steps == 0:
            raise GuidanceError("steps must be at least 1, not 0")

    def after_switch(self, _iteration: int) -> Demand:
        """Raise GuidanceError: the study's checkpoint cannot draw it."""
        raise GuidanceError(f"{self.label()} is drawn by another checkpoint")

    def switch_iteration(self, steps: int) -> int:
        """Return the guidance's own switch, among its own steps where it has any."""
        return self.guidance.switch_iteration(self.steps or steps)

    def label(self) -> str:
        """Name the guidance and the checkpoint, with what differs."""
        parts = [public_name(self.checkpoint), self.scheduler, f"T={self.steps}" if self.steps else "", self.dtype]
        return f"{self.guidance.label()} by {', '.join(part for part in parts if part)}"

    def short_name(self) -> str:
        """Name the arm in figures, by the last part of the checkpoint's name."""
        return f"{self.guidance.short_name()} ({self.checkpoint.rstrip('/').rpartition('/')[2]})"

    def without_folders(self) -> OtherCheckpoint:
        """Return the same arm with the checkpoint's name alone, for records that leave this machine."""
        return replace(self, checkpoint=public_name(self.checkpoint))
