"""Define what assignment works on: pairs with their cells, and planned showings of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PairCell:
    """A pair with its prompt and with the cell, over which booklets are balanced.

    Where each criterion has a run of its own, a pair is dealt once for each; else ``criterion`` is 0.
    """

    pair: int
    comparison: int
    stratum: str
    prompt: int
    criterion: int = 0

    @property
    def cell(self) -> tuple[int, str, int]:
        """Return the comparison, the stratum and the criterion."""
        return (self.comparison, self.stratum, self.criterion)


@dataclass(frozen=True)
class Showing:
    """A planned showing of a pair: one trial for each criterion, in their order.

    replaces: the ids of the trials left behind whose slots these trials take, one for each criterion; else empty.
    """

    cell: PairCell
    candidate_on_left: bool
    criteria: tuple[int, ...] = (0,)
    replaces: tuple[int, ...] = ()
