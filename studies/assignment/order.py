"""Order one booklet's trials: practice first, then pairs with checks and repeats among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evenhand.studies.assignment.pairs import Showing
from evenhand.studies.models import Trial

GAP = 5  # least number of pairs between a pair and its repeat, where the booklet is long enough


@dataclass(frozen=True)
class Item:
    """One trial to be written. ``check``: a check pair's id; ``repeats``: the place of the item that it repeats."""

    kind: Trial.Kind
    showing: Showing | None = None
    check: int | None = None
    better_on_left: bool = False
    repeats: int | None = None


def sequence(
    showings: Sequence[Showing],
    rng: np.random.Generator,
    *,
    practice: Sequence[int] = (),
    attention: Sequence[int] = (),
    repeats: int = 0,
) -> list[Item]:
    """Return all trials of a booklet. The pairs keep their order; checks and repeats stand at random places among them.

    practice, attention: ids of check pairs. A repeat stands ``GAP`` pairs or more after the pair that it repeats (half
    of the booklet, where that is shorter), with the sides swapped. No check is the first trial.
    """
    count = len(showings)
    items_at = [(float(i), Item(Trial.Kind.MAIN, showing)) for i, showing in enumerate(showings)]
    sides = _alternating(len(attention), rng)
    for check, on_left in zip(attention, sides, strict=True):
        items_at.append((rng.uniform(0.0, max(1, count - 1)), Item(Trial.Kind.ATTENTION, None, check, on_left)))
    gap = min(GAP, count // 2)
    originals = rng.permutation(count - gap)[:repeats]
    for original in sorted(int(i) for i in originals):
        showing = showings[original]
        opposite = Showing(showing.cell, not showing.candidate_on_left)
        at = rng.uniform(original + gap, count)
        items_at.append((at, Item(Trial.Kind.REPEAT, opposite, repeats=original)))
    items_at.sort(key=lambda entry: entry[0])
    practice_items = [
        Item(Trial.Kind.PRACTICE, None, check, on_left)
        for check, on_left in zip(practice, _alternating(len(practice), rng), strict=True)
    ]
    return _with_places([*practice_items, *(item for _, item in items_at)])


def _alternating(count: int, rng: np.random.Generator) -> list[bool]:
    """Return as many true as false values, within one, in random order."""
    start = int(rng.integers(2))
    return [bool((int(i) + start) % 2) for i in rng.permutation(count)]


def _with_places(items: list[Item]) -> list[Item]:
    """Turn ``repeats`` from the number of the pair into its place among all items."""
    places = [place for place, item in enumerate(items) if item.kind == Trial.Kind.MAIN]
    return [
        item if item.repeats is None else Item(item.kind, item.showing, repeats=places[item.repeats]) for item in items
    ]
