"""Pictures made elsewhere, as an arm: what they are said to be, and which they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from evenhand.generation.methods.base import Guidance
from evenhand.generation.methods.rows import Demand
from evenhand.generation.methods.settings import GuidanceError, text

LONGEST = 500  # characters of each text


@dataclass(frozen=True)
class Uploaded(Guidance):
    """An arm whose pictures were uploaded. It can be shown, rated and scored, and never be made again.

    name: what study admins read. model, source, licence: as the person who brought the pictures says. pictures: the
    SHA-256 (64 hex digits) over prompts and files, so that two sets of pictures are never one arm.
    """

    method: ClassVar[str] = "uploaded"
    short: ClassVar[str] = "uploaded"
    generated_here: ClassVar[bool] = False

    name: str = text("", "what study admins read")
    model: str = text("", "the model that made the pictures")
    source: str = text("", "where the pictures come from")
    licence: str = text("", "the pictures' licence")
    pictures: str = text("", "SHA-256 over prompts and files")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name.strip():
            raise GuidanceError("an arm of uploaded pictures needs a name")
        for name in ("name", "model", "source", "licence", "pictures"):
            value: str = getattr(self, name)
            if len(value) > LONGEST or "\0" in value:
                raise GuidanceError(f"{name} has {len(value)} characters, at most {LONGEST} without NUL are kept")

    def after_switch(self, _iteration: int) -> Demand:
        """Raise GuidanceError: these pictures are not generated."""
        raise GuidanceError(f"the pictures of “{self.name}” were uploaded; they cannot be generated")

    def switch_iteration(self, _steps: int) -> int:
        """Return 0: there is no opening."""
        return 0

    def label(self) -> str:
        """Name the arm, with its model where that says more."""
        return f"{self.name} ({self.model})" if self.model and self.model != self.name else self.name

    def short_name(self) -> str:
        """Name the arm in figures."""
        return self.name
