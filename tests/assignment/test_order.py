"""The order of a booklet, for any shape: practice first, checks and repeats where they belong."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.studies.assignment.order import GAP, Item, sequence
from evenhand.studies.assignment.pairs import PairCell, Showing
from evenhand.studies.models import Trial

Kind = Trial.Kind


@st.composite
def booklets(draw: st.DrawFn) -> tuple[list[Showing], dict[str, Any], list[Item]]:
    """Showings, what was asked for beside them, and the sequence made of both."""
    sides = draw(st.lists(st.booleans(), min_size=1, max_size=40))
    showings = [Showing(PairCell(100 + i, i % 2, "high", 500 + i), left) for i, left in enumerate(sides)]
    asked: dict[str, Any] = {
        "practice": list(range(draw(st.integers(0, 6)))),
        "attention": list(range(50, 50 + draw(st.integers(0, 12)))),
        "repeats": draw(st.integers(0, len(sides) // 2)),
    }
    return showings, asked, sequence(showings, np.random.default_rng(draw(st.integers(0, 2**32))), **asked)


def places(items: list[Item], kind: Kind) -> list[int]:
    return [place for place, item in enumerate(items) if item.kind == kind]


@settings(max_examples=200, deadline=None)
@given(made=booklets())
def test_everything_asked_for_is_there_once_and_pairs_keep_their_order(made: Any) -> None:
    showings, asked, items = made
    assert [item.showing for item in items if item.kind == Kind.MAIN] == showings
    assert sorted(item.check for item in items if item.kind == Kind.PRACTICE) == asked["practice"]
    assert sorted(item.check for item in items if item.kind == Kind.ATTENTION) == asked["attention"]
    repeated = [item.repeats for item in items if item.kind == Kind.REPEAT]
    assert len(repeated) == len(set(repeated)) == asked["repeats"]


@settings(max_examples=200, deadline=None)
@given(made=booklets())
def test_practice_comes_first_and_no_check_is_the_first_trial(made: Any) -> None:
    _, asked, items = made
    count = len(asked["practice"])
    assert places(items, Kind.PRACTICE) == list(range(count))
    assert items[count].kind == Kind.MAIN


@settings(max_examples=200, deadline=None)
@given(made=booklets())
def test_a_repeat_stands_well_behind_its_pair_with_the_sides_swapped(made: Any) -> None:
    showings, _, items = made
    gap = min(GAP, len(showings) // 2)
    mains = places(items, Kind.MAIN)
    for place in places(items, Kind.REPEAT):
        item, original = items[place], items[items[place].repeats]
        assert original.kind == Kind.MAIN
        assert item.showing == Showing(original.showing.cell, not original.showing.candidate_on_left)
        assert sum(item.repeats < main < place for main in mains) >= gap


@settings(max_examples=200, deadline=None)
@given(made=booklets())
def test_the_right_sides_of_checks_and_of_practice_are_balanced(made: Any) -> None:
    items = made[2]
    for kind in (Kind.PRACTICE, Kind.ATTENTION):
        right = [item.better_on_left for item in items if item.kind == kind]
        assert abs(2 * sum(right) - len(right)) <= 1


def test_checks_and_repeats_stand_anywhere_and_their_first_sides_are_random() -> None:
    """Over many booklets: no place behind the first is free of checks, none has most of them, no side comes first."""
    showings = [Showing(PairCell(i, 0, "high", i), True) for i in range(20)]
    rng = np.random.default_rng(3)
    made = [sequence(showings, rng, attention=[1, 2], repeats=2) for _ in range(1500)]
    checks = np.bincount([place for items in made for place in places(items, Kind.ATTENTION)], minlength=24)
    assert checks[0] == 0
    assert checks[1:23].min() > 0.5 * checks[1:23].mean()  # 136 expected a place; the last place is a repeat's as well
    assert checks.max() < 1.5 * checks[1:23].mean()
    first = [items[places(items, Kind.ATTENTION)[0]].better_on_left for items in made]
    assert 675 < sum(first) < 825  # 750 ± 4 standard deviations of 19.4
    repeated = np.bincount([item.repeats for items in made for item in items if item.repeats is not None])
    assert (repeated[[0, 5, 10]] > 0).all()
