"""Which arms are compared: any pairs, checked in words; plans that say nothing of it stay what they were."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree
from evenhand.studies.changed_arms import with_candidates
from evenhand.studies.comparisons import all_pairs, parts, read_comparisons
from evenhand.studies.configuration import ConfigurationError, StudyConfiguration, compared_in_words

ARMS = tuple(ClassifierFree(float(w)) for w in range(1, 5))


def plan(**changes: Any) -> StudyConfiguration:
    """Four arms: classifier-free guidance with w = 1 … 4."""
    settings: dict[str, Any] = {"checkpoint": "demo", "baseline": ARMS[0], "candidates": ARMS[1:]}
    return StudyConfiguration(**(settings | changes))


def test_without_comparisons_each_candidate_is_compared_with_the_baseline_and_the_hash_is_the_old_one() -> None:
    assert plan().compared == ((0, 1), (0, 2), (0, 3))
    assert "comparisons" not in json.loads(plan().to_json())
    assert plan(comparisons=((0, 1), (0, 2), (0, 3))) == plan()


@given(st.integers(3, 6).flatmap(lambda n: st.tuples(st.just(n), st.permutations(all_pairs(n)))))
def test_comparisons_survive_their_json(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = drawn
    arms = tuple(ClassifierFree(float(w)) for w in range(count))
    one = plan(baseline=arms[0], candidates=arms[1:], comparisons=tuple(pairs))
    assert len(one.compared) == count * (count - 1) // 2
    assert StudyConfiguration.from_json(one.to_json()) == one


@pytest.mark.parametrize(
    ("comparisons", "message"),
    [
        (((0, 4),), "there is no arm 4: 0 is the baseline, and the candidates are 1 to 3"),
        (((-1, 2),), "there is no arm -1"),
        (((0, 1), (2, 2)), "arm 2 is compared with itself"),
        (((0, 1), (0, 2), (0, 3), (0, 1)), "arms 0 and 1 are compared twice"),
        (((0, 1), (0, 2), (0, 3), (1, 0)), "arms 1 and 0 are compared twice; turned round it is the same"),
        (((0, 1), (1, 2)), "arm 3 is in no comparison"),
        (((1, 2), (2, 3)), "arm 0 is in no comparison"),
        (((0, 1, 2),), "a comparison is two arm numbers, such as [0, 1], not [0, 1, 2]"),
        (((0, True),), "a comparison is two arm numbers"),
        (((0, "1"),), "a comparison is two arm numbers"),
        (((0, 1),) * 67, "67 comparisons are too many, 66 are the most"),
    ],
)
def test_what_cannot_be_compared_is_said(comparisons: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan(comparisons=comparisons)
    assert message in caught.value.errors["comparisons"]


def test_the_primary_outcome_counts_comparisons() -> None:
    assert plan(comparisons=all_pairs(4), primary_comparison=6).compared[5] == (2, 3)
    with pytest.raises(ConfigurationError, match="primary_comparison"):
        plan(primary_comparison=4)


def test_a_comparison_is_named_by_its_arms() -> None:
    named = compared_in_words(plan(candidates=ARMS[1:3], comparisons=((0, 1), (2, 1))))
    assert [each.split(" against ") for each in named] == [
        [ARMS[1].label(), ARMS[0].label()],
        [ARMS[1].label(), ARMS[2].label()],
    ]


def test_json_may_name_the_usual_choices() -> None:
    settings = json.loads(plan().to_json())
    assert StudyConfiguration.from_json(json.dumps(settings | {"comparisons": "all_pairs"})).compared == all_pairs(4)
    assert StudyConfiguration.from_json(json.dumps(settings | {"comparisons": "baseline"})) == plan()
    for wrong in ("some", 3, [3], {"0": 1}, None):
        with pytest.raises(InputError, match="comparisons are pairs of arm numbers"):
            read_comparisons(wrong, 4)


def test_arms_that_nothing_connects_fall_apart() -> None:
    assert parts([(0, 1), (2, 3)]) == [[0, 1], [2, 3]]
    assert parts([(0, 1), (2, 3), (3, 1)]) == [[0, 1, 2, 3]]
    assert parts(list(all_pairs(5))) == [[0, 1, 2, 3, 4]]


def test_a_plan_with_fewer_candidates_must_be_compared_anew() -> None:
    with pytest.raises(ConfigurationError, match="there is no arm 3"):
        replace(plan(comparisons=all_pairs(4)), candidates=ARMS[1:3])


def test_comparisons_and_the_primary_outcome_follow_changed_candidates() -> None:
    one = plan(comparisons=((0, 1), (2, 1), (0, 3)), primary_comparison=2)
    fewer = with_candidates(one, ARMS[2:])
    assert (fewer.compared, fewer.primary_comparison) == (((0, 2), (0, 1)), 1)  # the primary's arm 1 is gone
    turned = with_candidates(one, (ARMS[3], ARMS[2], ARMS[1]))
    assert (turned.compared, turned.primary_comparison) == (((0, 3), (2, 3), (0, 1)), 2)
    every = with_candidates(plan(comparisons=all_pairs(4), primary_comparison=6), (*ARMS[1:], ClassifierFree(9.0)))
    assert (every.compared, every.compared[every.primary_comparison - 1]) == (all_pairs(5), (2, 3))
    assert with_candidates(plan(primary_comparison=3), ARMS[2:]).primary_comparison == 2
