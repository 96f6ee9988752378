"""What assignment deals: pairs with the cells that must be balanced, and their planned showings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PairCell:
    """A pair and what must be balanced about it."""

    pair: int
    comparison: int
    stratum: str
    prompt: int

    @property
    def cell(self) -> tuple[int, str]:
        """Comparison and stratum."""
        return (self.comparison, self.stratum)


@dataclass(frozen=True)
class Showing:
    """One planned trial."""

    cell: PairCell
    candidate_on_left: bool
    replaces: int | None = None  # id of the trial left behind whose slot this one fills
