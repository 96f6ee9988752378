"""Order what one booklet shows: practice first, then pairs with checks and repeats among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evenhand.studies.assignment.pairs import Showing
from evenhand.studies.models import Trial

GAP = 5  # least number of pairs between a pair and its repeat, where the booklet is long enough


@dataclass(frozen=True)
class Item:
    """Two pictures to be shown, with one trial for each criterion.

    check: a check pair's id; repeats: the place of the item that it repeats.
    """

    kind: Trial.Kind
    showing: Showing | None = None
    check: int | None = None
    better_on_left: bool = False
    repeats: int | None = None
    criteria: tuple[int, ...] = (0,)


def sequence(
    showings: Sequence[Showing],
    rng: np.random.Generator,
    *,
    practice: Sequence[int] = (),
    attention: Sequence[int] = (),
    repeats: int = 0,
    criteria: tuple[int, ...] = (0,),
) -> list[Item]:
    """Return all items of a run. The pairs keep their order; checks and repeats stand at random places among them.

    practice, attention: ids of check pairs, which ask ``criteria``.

    A repeat stands ``GAP`` pairs or more after the pair that it repeats (half of the booklet, where that is shorter),
    with the sides swapped. No check is the first trial.
    """
    count = len(showings)
    items_at = [
        (float(i), Item(Trial.Kind.MAIN, showing, criteria=showing.criteria)) for i, showing in enumerate(showings)
    ]
    sides = _alternating(len(attention), rng)
    for check, on_left in zip(attention, sides, strict=True):
        items_at.append(
            (rng.uniform(0.0, max(1, count - 1)), Item(Trial.Kind.ATTENTION, None, check, on_left, criteria=criteria))
        )
    gap = min(GAP, count // 2)
    originals = rng.permutation(count - gap)[:repeats]
    for original in sorted(int(i) for i in originals):
        showing = showings[original]
        opposite = Showing(showing.cell, not showing.candidate_on_left, showing.criteria)
        at = rng.uniform(original + gap, count)
        items_at.append((at, Item(Trial.Kind.REPEAT, opposite, repeats=original, criteria=showing.criteria)))
    items_at.sort(key=lambda entry: entry[0])
    practice_items = [
        Item(Trial.Kind.PRACTICE, None, check, on_left, criteria=criteria)
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
    return [item if item.repeats is None else replace(item, repeats=places[item.repeats]) for item in items]


def join(runs: Sequence[Sequence[Item]]) -> list[Item]:
    """Put runs one behind the other, so that repeats name the places of the whole."""
    items: list[Item] = []
    for run in runs:
        before = len(items)
        items += [item if item.repeats is None else replace(item, repeats=before + item.repeats) for item in run]
    return items


def shared_out(count: int, runs: int) -> list[int]:
    """Share ``count`` things out among runs, within one, the earlier ones first."""
    return [count // runs + (i < count % runs) for i in range(runs)]
