"""The final subset's ranks (method §4.7)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.sampling.percentiles import StrataError, minimum_prompts, percentile_strata


def ranks(count: int, percentiles: tuple[float, ...] = (90, 50, 10), per_stratum: int = 50) -> dict[float, list[int]]:
    """First and last rank of each stratum among ``count`` ascending scores."""
    strata = percentile_strata(np.arange(count), percentiles, per_stratum)
    return {percentile: [int(indices[0]), int(indices[-1])] for percentile, indices in strata.items()}


def test_ranks_of_the_papers_five_thousand() -> None:
    # round(p/100·4999 − 24.5): 4474.6, 2475, 475.4
    assert ranks(5000) == {90: [4475, 4524], 50: [2475, 2524], 10: [475, 524]}


def test_the_smallest_set_for_the_defaults_reaches_both_ends() -> None:
    assert minimum_prompts() == 246
    assert ranks(246) == {90: [196, 245], 50: [98, 147], 10: [0, 49]}


def test_a_half_is_rounded_upwards() -> None:
    assert ranks(301, (50,))[50] == [126, 175]  # 150 − 24.5 = 125.5
    assert ranks(303, (50,))[50] == [127, 176]  # 126.5: not to the even 126


def test_one_prompt_a_stratum_is_the_percentile_itself() -> None:
    assert ranks(101, (100, 90, 50, 10, 0), 1) == {100: [100, 100], 90: [90, 90], 50: [50, 50], 10: [10, 10], 0: [0, 0]}


def test_the_strata_of_the_extremes_are_cut_to_the_ends() -> None:
    assert ranks(300, (100, 0)) == {100: [250, 299], 0: [0, 49]}


def test_ties_are_broken_by_index() -> None:
    scores = [0.5] * 246
    strata = percentile_strata(scores)
    assert strata[10].tolist() == list(range(50))
    assert strata[90].tolist() == list(range(196, 246))
    scores[0] = 0.6  # the first prompt moves to the end, all others one rank down
    assert percentile_strata(scores)[10].tolist() == list(range(1, 51))
    assert percentile_strata(scores)[90].tolist() == [*range(197, 246), 0]


def test_high_comes_first_and_holds_the_high_scores() -> None:
    scores = np.random.default_rng(0).normal(size=400)
    strata = percentile_strata(scores)
    assert list(strata) == [90, 50, 10]
    assert scores[strata[90]].min() > scores[strata[50]].max() > scores[strata[50]].min() > scores[strata[10]].max()


@pytest.mark.parametrize("count", [0, 1, 149, 150, 245])
def test_too_few_prompts_say_how_many_are_needed(count: int) -> None:
    with pytest.raises(StrataError, match=rf"among {count} prompts; at least 246 are needed"):
        percentile_strata(np.zeros(count))


@pytest.mark.parametrize(
    ("scores", "percentiles", "per_stratum", "message"),
    [
        ([[0.1, 0.2]], (50,), 1, r"shape \(1, 2\)"),
        ([0.1, float("nan"), 0.2], (50,), 1, "score 1 is nan"),
        ([0.1, 0.3, float("inf")], (50,), 1, "score 2 is inf"),
        ([0.1], (101,), 1, "percentile 101"),
        ([0.1], (float("nan"),), 1, "percentile nan"),
        ([0.1], (-1,), 1, "percentile -1"),
        ([0.1], (), 1, "must be given"),
        ([0.1], (50, 50.0), 1, "differ"),
        ([0.1], (50,), 0, "per_stratum.*0"),
        ([0.1] * 10, (50, 49), 5, "at least 501 are needed"),
    ],
)
def test_bad_input_is_named(scores: list, percentiles: tuple, per_stratum: int, message: str) -> None:
    with pytest.raises(StrataError, match=message):
        percentile_strata(scores, percentiles, per_stratum)


PERCENTILES = st.lists(st.integers(0, 100), min_size=1, max_size=4, unique=True).map(tuple)


@given(PERCENTILES, st.integers(1, 12), st.integers(0, 60), st.randoms(use_true_random=False))
def test_strata_are_consecutive_ranks_where_the_formula_puts_them(
    percentiles: tuple[int, ...], per_stratum: int, more: int, random: object
) -> None:
    count = minimum_prompts(percentiles, per_stratum) + more
    scores = [random.randint(0, count // 2) for _ in range(count)]  # type: ignore[attr-defined]
    by_rank = sorted(range(count), key=lambda i: (scores[i], i))
    strata = percentile_strata(scores, percentiles, per_stratum)
    for percentile, indices in strata.items():
        middle = Decimal(percentile) * (count - 1) / 100 - Decimal(per_stratum - 1) / 2
        start = min(max(int(middle.to_integral_value(ROUND_HALF_UP)), 0), count - per_stratum)
        assert indices.tolist() == by_rank[start : start + per_stratum]
    chosen = np.concatenate(list(strata.values()))
    assert len(set(chosen.tolist())) == len(percentiles) * per_stratum


@given(PERCENTILES, st.integers(1, 12))
def test_one_prompt_less_than_the_minimum_is_refused_for_a_reason(
    percentiles: tuple[int, ...], per_stratum: int
) -> None:
    """Among one fewer, before rounding, two strata overlap or one reaches over an end."""
    needed = minimum_prompts(percentiles, per_stratum)
    count = needed - 1
    with pytest.raises(StrataError, match=f"at least {needed} are needed"):
        percentile_strata(np.zeros(count), percentiles, per_stratum)
    starts = []
    over = count < per_stratum
    for percentile in sorted(percentiles):
        start = Decimal(percentile) * (count - 1) / 100 - Decimal(per_stratum - 1) / 2
        if percentile in (0, 100):
            start = min(max(start, Decimal(0)), Decimal(count - per_stratum))
        over = over or start < 0 or start > count - per_stratum
        starts.append(start)
    assert over or any(b - a < per_stratum for a, b in pairwise(starts))
