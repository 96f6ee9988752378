"""Define what assignment works on: pairs with their cells, and planned showings of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PairCell:
    """A pair with its prompt and with the cell, over which booklets are balanced."""

    pair: int
    comparison: int
    stratum: str
    prompt: int

    @property
    def cell(self) -> tuple[int, str]:
        """Return the comparison and the stratum."""
        return (self.comparison, self.stratum)


@dataclass(frozen=True)
class Showing:
    """One planned trial."""

    cell: PairCell
    candidate_on_left: bool
    replaces: int | None = None  # id of the trial left behind whose slot this one takes
