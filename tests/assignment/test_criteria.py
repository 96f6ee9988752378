"""Several criteria: of each pair one after the other, or each in a run of trials of its own."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.studies.assignment.booklets import booklets_needed, build_blocks, guarantees, mirror, plan_block
from evenhand.studies.assignment.pairs import PairCell, Showing
from evenhand.studies.criteria import PRESETS, Criterion
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Booklet, Study, Trial
from tests.helpers.factories import make_ready_study

THREE = (Criterion(), PRESETS["match"], PRESETS["appeal"])


@st.composite
def shapes(draw: st.DrawFn) -> list[PairCell]:
    """Pairs of up to three comparisons and two strata, once for each of two or three criteria."""
    comparisons, criteria = draw(st.integers(1, 3)), draw(st.integers(2, 3))
    prompts = draw(st.integers(1, 14))
    return [
        PairCell(c * prompts + p, c, "high" if p % 3 else "low", p, k)
        for k in range(criteria)
        for c in range(comparisons)
        for p in range(prompts)
    ]


def run_order(booklet: list[Showing]) -> list[int]:
    return [criterion for criterion, _ in groupby(booklet, lambda showing: showing.cell.criterion)]


@settings(max_examples=150, deadline=None)
@given(pairs=shapes(), trials=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_runs_cover_every_pair_by_every_criterion_and_no_prompt_twice(
    pairs: list[PairCell], trials: int, seed: int
) -> None:
    plan = plan_block(pairs, trials, np.random.default_rng(seed))
    shown = [(each.cell.pair, each.cell.criterion) for booklet in plan for each in booklet]
    assert sorted(shown) == sorted((cell.pair, cell.criterion) for cell in pairs)
    assert len(plan) == booklets_needed(pairs, trials)
    for number, booklet in enumerate(plan):
        assert len(booklet) <= trials
        assert len({each.cell.prompt for each in booklet}) == len(booklet)
        assert all(each.criteria == (each.cell.criterion,) for each in booklet)
        order = run_order(booklet)
        assert len(order) == len(set(order))  # one run each
        every = sorted({cell.criterion for cell in pairs})
        first = number % len(every)
        assert order == [k for k in [*every[first:], *every[:first]] if k in order]
        for cell in {each.cell.cell for each in booklet}:
            sides = [each.candidate_on_left for each in booklet if each.cell.cell == cell]
            assert abs(2 * sum(sides) - len(sides)) <= 1
    for booklet, other in zip(plan, mirror(plan, np.random.default_rng(seed)), strict=True):
        assert run_order(other) == run_order(booklet)[::-1]
        assert {(e.cell, e.candidate_on_left) for e in other} == {(e.cell, not e.candidate_on_left) for e in booklet}


def test_the_admin_is_told_what_runs_guarantee() -> None:
    pairs = [PairCell(p, 0, "high", p, k) for k in range(2) for p in range(12)]
    told = " ".join(guarantees(pairs, 6))
    assert "4 booklets show each of the 12 pairs once for each of the 2 criteria" in told
    assert "each comparison, stratum and criterion" in told


def opened(**changes: Any) -> Study:
    study = make_ready_study(criteria=THREE, practice_trials=2, attention_checks=3, repeats=2, **changes)
    open_study(study)
    return study


@pytest.mark.django_db
def test_criteria_of_one_pair_stand_side_by_side_with_the_same_pictures() -> None:
    study = opened(criteria_order="together")
    for booklet in Booklet.objects.filter(study=study):
        trials = list(Trial.objects.filter(booklet=booklet).select_related("check_pair", "lead", "repeat_of"))
        assert [trial.position for trial in trials] == list(range(1, len(trials) + 1))
        assert len(trials) == 3 * (12 + 2 + 3 + 2)
        for lead, *followers in (trials[i : i + 3] for i in range(0, len(trials), 3)):
            assert lead.lead is None
            assert [follower.lead for follower in followers] == [lead, lead]
            assert [each.criterion for each in (lead, *followers)] == [0, 1, 2]
            shown = {(each.kind, each.left_image_id, each.right_image_id, each.pair_id) for each in (lead, *followers)}
            assert len(shown) == 1
            if lead.kind == "repeat":
                originals = [each.repeat_of for each in (lead, *followers) if each.repeat_of is not None]
                assert [original.criterion for original in originals] == [0, 1, 2]
                assert {original.left_image_id for original in originals} == {lead.right_image_id}
        assert len({trial.slot for trial in trials}) == len(trials)


@pytest.mark.django_db
@pytest.mark.parametrize("order", ["together", "runs"])
def test_a_check_has_a_right_answer_only_where_the_criterion_can_tell(order: str) -> None:
    study = opened(criteria_order=order)
    checks = Trial.objects.filter(booklet__study=study, kind="attention").select_related("check_pair")
    faults = {check.pk: check.check_pair.fault for check in checks if check.check_pair is not None}
    assert set(faults.values()) == {"damaged", "other_prompt"}
    for check in checks:
        tells = THREE[check.criterion].tells(faults[check.pk])
        assert (check.expected_choice is not None) == tells
        if order == "runs":
            assert tells  # a check is put where it can tell something
    practice = Trial.objects.filter(booklet__study=study, kind="practice", criterion=0)
    assert practice.exists()
    assert not practice.filter(expected_choice=None).exists()


@pytest.mark.django_db
def test_runs_hold_their_checks_and_repeats() -> None:
    study = opened(criteria_order="runs", quota=12)
    build_blocks(study, 2)
    for booklet in Booklet.objects.filter(study=study):
        trials = list(Trial.objects.filter(booklet=booklet).select_related("repeat_of"))
        assert [trial.criterion for trial in trials if trial.kind == "practice"] == [0, 0]
        rest = [trial for trial in trials if trial.kind != "practice"]
        order = [criterion for criterion, _ in groupby(rest, lambda trial: trial.criterion)]
        assert sorted(order) == [0, 1, 2]
        assert sum(trial.kind == "attention" for trial in rest) == 3
        repeats = [trial for trial in rest if trial.kind == "repeat"]
        assert len(repeats) == 2
        for repeat in repeats:
            assert repeat.repeat_of is not None
            assert repeat.repeat_of.criterion == repeat.criterion
            assert repeat.repeat_of.position < repeat.position
        assert all(trial.lead_id is None for trial in trials)
