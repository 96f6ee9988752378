"""Assignment: every pair once a block, no prompt twice for one person, cells and sides balanced."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.studies.assignment.booklets import (
    PairCell,
    Plan,
    booklets_needed,
    build_blocks,
    guarantees,
    mirror,
    plan_block,
)
from evenhand.studies.assignment.dealing import deal
from evenhand.studies.models import Booklet, Trial
from tests.helpers.factories import make_ready_study


def cells(comparisons: int, strata: dict[str, int]) -> list[PairCell]:
    """Pairs of every prompt in every comparison."""
    prompts = [(stratum, f"{stratum}{i}") for stratum, count in strata.items() for i in range(count)]
    numbers = {name: k for k, (_, name) in enumerate(prompts)}
    return [
        PairCell(pair=c * len(prompts) + numbers[name], comparison=c, stratum=stratum, prompt=numbers[name])
        for c in range(comparisons)
        for stratum, name in prompts
    ]


PAPER = cells(2, {"high": 50, "middle": 50, "low": 50})


def largest_difference(plan: Plan) -> int:
    """By how many pairs of one cell the booklets of a block differ at most."""
    counts = [Counter(showing.cell.cell for showing in booklet) for booklet in plan]
    return max(max(c[cell] for c in counts) - min(c[cell] for c in counts) for cell in set().union(*counts))


def test_the_papers_study_is_ten_booklets_of_thirty_with_five_of_each_cell() -> None:
    plan = plan_block(PAPER, 30, np.random.default_rng(0))
    assert [len(booklet) for booklet in plan] == [30] * 10
    for booklet in plan:
        assert set(Counter(showing.cell.cell for showing in booklet).values()) == {5}
        assert len({showing.cell.prompt for showing in booklet}) == 30
        assert sum(showing.candidate_on_left for showing in booklet) == 15
    assert largest_difference(plan) == 0


def test_a_seed_gives_the_booklets_that_it_gave_before() -> None:
    """A study's booklets follow from its seed: a faster way to build them must not change them."""
    plan = plan_block(PAPER, 30, np.random.default_rng([7, 0]))
    blocks = [*plan, *mirror(plan, np.random.default_rng([7, 0, 1]))]
    shown = [[(each.cell.pair, each.candidate_on_left) for each in booklet] for booklet in blocks]
    assert hashlib.sha256(repr(shown).encode()).hexdigest() == (
        "75bafebf9106827772b8fed6ba1386ed08a97154527dde84a73444af9cf754b1"
    )


def test_a_mirror_shows_the_same_pairs_with_the_sides_swapped() -> None:
    plan = plan_block(PAPER, 30, np.random.default_rng(0))
    for booklet, other in zip(plan, mirror(plan, np.random.default_rng(1)), strict=True):
        sides = {showing.cell.pair: showing.candidate_on_left for showing in booklet}
        assert {showing.cell.pair: not showing.candidate_on_left for showing in other} == sides


@st.composite
def shapes(draw: st.DrawFn) -> list[PairCell]:
    """Pairs of up to five comparisons and four uneven strata; a comparison may lack some of the prompts."""
    strata = draw(st.lists(st.integers(1, 17), min_size=1, max_size=4))
    whole = cells(draw(st.integers(1, 5)), {f"s{i}": count for i, count in enumerate(strata)})
    lacking = draw(st.sets(st.integers(1, len(whole) - 1))) if len(whole) > 1 else set()
    return [cell for cell in whole if cell.pair not in lacking]


@settings(max_examples=150, deadline=None)
@given(pairs=shapes(), trials=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_any_shape_is_dealt_fairly(pairs: list[PairCell], trials: int, seed: int) -> None:
    plan = plan_block(pairs, trials, np.random.default_rng(seed))
    shown = [showing.cell.pair for booklet in plan for showing in booklet]
    assert sorted(shown) == sorted(cell.pair for cell in pairs)
    for booklet in plan:
        assert len(booklet) <= trials
        assert len({showing.cell.prompt for showing in booklet}) == len(booklet)
        assert abs(2 * sum(showing.candidate_on_left for showing in booklet) - len(booklet)) <= 1
        for cell in {showing.cell.cell for showing in booklet}:
            sides = [showing.candidate_on_left for showing in booklet if showing.cell.cell == cell]
            assert abs(2 * sum(sides) - len(sides)) <= 1
    lengths = [len(booklet) for booklet in plan]
    assert len(plan) == booklets_needed(pairs, trials)
    assert largest_difference(plan) <= 1
    assert 1 <= min(lengths) <= max(lengths) <= min(lengths) + 1


@settings(max_examples=60, deadline=None)
@given(pairs=shapes(), trials=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_what_the_admin_is_told_is_so(pairs: list[PairCell], trials: int, seed: int) -> None:
    told = " ".join(guarantees(pairs, trials))
    plan = plan_block(pairs, trials, np.random.default_rng(seed))
    lengths = {len(booklet) for booklet in plan}
    assert told.startswith(f"{len(plan)} booklets show each of the {len(pairs)} pairs once")
    assert ("the same number of pairs" in told) == (largest_difference(plan) == 0)
    assert ("instead of" in told) == (len(lengths) > 1)
    assert ("no more fit" in told) == (max(lengths) < trials)


def test_a_prompt_with_more_pairs_than_booklets_cannot_be_dealt() -> None:
    with pytest.raises(ValueError, match="prompt 0 has more pairs than the 2 booklets"):
        deal(cells(3, {"high": 1}), 2, np.random.default_rng(0))


def test_orders_avoid_long_runs() -> None:
    for booklet in plan_block(PAPER, 30, np.random.default_rng(5)):
        for values in ([s.cell.comparison for s in booklet], [s.candidate_on_left for s in booklet]):
            longest = max(
                len(run)
                for run in "".join("AB"[int(v)] for v in values).replace("AB", "A B").replace("BA", "B A").split()
            )
            assert longest <= 4


def test_an_uneven_shape_is_told_before_opening() -> None:
    told = guarantees(cells(2, {"high": 5, "low": 3}), 7)
    assert any("differ by one" in sentence for sentence in told)
    assert guarantees(PAPER, 30)[1].startswith("Every booklet holds the same number")


@pytest.mark.parametrize(("pairs", "trials", "message"), [([], 30, "no pairs"), (PAPER, 0, "at least 1, not 0")])
def test_shapes_that_cannot_be_dealt_are_named(pairs: list[PairCell], trials: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        booklets_needed(pairs, trials)


@pytest.mark.django_db
def test_blocks_are_written_once_and_the_second_mirrors_the_first() -> None:
    study = make_ready_study()
    assert build_blocks(study, 2) == 2
    assert build_blocks(study, 2) == 0
    sides = Counter(Trial.objects.filter(booklet__study=study).values_list("pair", "candidate_on_left"))
    assert set(sides.values()) == {1}
    assert len(sides) == 2 * 24
    numbers = list(Booklet.objects.filter(study=study).order_by("number").values_list("number", flat=True))
    assert numbers == list(range(len(numbers)))


@pytest.mark.django_db
def test_a_trials_pictures_stand_on_the_sides_that_it_says() -> None:
    study = make_ready_study()
    build_blocks(study, 1)
    for trial in Trial.objects.filter(booklet__study=study).select_related("pair"):
        assert trial.pair is not None
        left = trial.pair.candidate_image_id if trial.candidate_on_left else trial.pair.baseline_image_id
        right = trial.pair.baseline_image_id if trial.candidate_on_left else trial.pair.candidate_image_id
        assert (trial.left_image_id, trial.right_image_id) == (left, right)
