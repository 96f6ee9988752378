"""The paper's figures as method §2.1 lists them."""

from __future__ import annotations

import pytest

from evenhand.generation.cases import PAPER_NEGATIVES, Case, paper_cases
from evenhand.generation.guidance import ClassifierFree, SegmentationFree
from evenhand.generation.plan import count_evaluations

CASES = paper_cases()


def described(case: Case) -> list[tuple[float, ...]]:
    """Of each arm (w,) or (w, a, w̄, t_s at T = 20)."""
    return [
        (arm.opening.strength, arm.scale, arm.strength, arm.switch_iteration(20))
        if isinstance(arm, SegmentationFree)
        else (arm.to_dict()["strength"],)
        for arm in case.arms.values()
    ]


@pytest.mark.parametrize(
    ("figure", "arms"),
    [
        (1, [(7.5,)] * 4),
        (2, [(7.5,), (7.5, 10, 2.5, 5)]),
        (3, [(7.5,), (7.5, 0, 2.5, 10), (7.5, 10, 2.5, 10), (7.5, 20, 2.5, 10), (7.5, 50, 2.5, 10)]),
        (4, [(7.5,), (7.5, 10, 2.5, 10), (7.5, 10, 2.5, 1)]),
        (5, [(7.5,), (7.5, 10, 2.5, 10), (7.5, 10, 2.5, 5)]),
        (6, [(7.5,)]),
        (7, [(7.5,), (12.5,), (12.5, 10, 2.5, 10), (12.5, 10, 2.5, 5)]),
        (8, [(12.5, 10, 2.5, 5)]),
        (9, [(7.5,), (7.5, 10, 2.5, 10), (7.5, 10, 2.5, 5)]),
    ],
)
def test_each_figure_has_the_papers_arms(figure: int, arms: list[tuple[float, ...]]) -> None:
    assert described(CASES[figure]) == arms


def test_the_figures_that_belong_together_share_prompt_and_arm() -> None:
    assert {CASES[figure].prompt for figure in (6, 7, 8)} == {"A man in yellow shirt next to a woman in blue dress"}
    assert CASES[6].seeds == (1, 2, 3)
    assert list(CASES[8].arms.values()) == list(CASES[7].arms.values())[-1:]
    assert CASES[8].after == (5,)
    negatives = [arm.negative_prompt for arm in CASES[1].arms.values() if isinstance(arm, ClassifierFree)]
    assert negatives == list(PAPER_NEGATIVES)


def test_other_prompts_and_strengths_take_their_places() -> None:
    cases = paper_cases({3: "a red circle"}, ("", "a star"), strength=3.0, guided_strength=1.0)
    assert cases[3].prompt == "a red circle"
    assert cases[4].prompt == CASES[4].prompt
    assert len(cases[1].arms) == 2
    assert described(cases[7]) == [(3,), (5,), (5, 10, 1, 10), (5, 10, 1, 5)]
    assert list(cases[7].arms)[1:3] == ["CFG w = 5", "w = 5, t_s = 10"]


def test_every_figure_is_one_trajectory_of_few_evaluations() -> None:
    """E.g. Fig. 5 by hand: 2·5 shared, 3 at the first split, 4 in four iterations, then 5 and 6."""
    assert count_evaluations(CASES[5].arms) == 2 * 5 + 3 + 4 * 4 + 5 + 9 * 6
    for case in CASES.values():
        assert any(isinstance(arm, SegmentationFree) for arm in case.arms.values()) == (case.figure not in (1, 6))
