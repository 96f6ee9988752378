"""Holm's adjustment, wins and ties, equivalence and side bias, against worked examples and other libraries."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from evenhand.analysis.clustered import Estimate, clusters, mean_estimate, share_estimate
from evenhand.analysis.decisions import DecisionError, equivalence, holm, side_bias, win_share
from evenhand.analysis.preference import PreferenceError, preference_estimates

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_holm_s_adjustment_of_a_worked_example() -> None:
    """R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(max_examples=15, deadline=None)
@given(p_values)
def test_statsmodels_adjusts_alike(values: list[float]) -> None:
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1])


@given(p_values, st.randoms())
def test_adjusted_values_are_larger_and_keep_their_order(values: list[float], random: Random) -> None:
    adjusted, order = holm(values), list(range(len(values)))
    random.shuffle(order)
    assert (adjusted >= np.array(values) - 1e-15).all()
    assert (np.diff(adjusted[np.argsort(values)]) >= 0).all()
    assert holm([values[i] for i in order]) == pytest.approx(adjusted[order])


def test_a_comparison_without_a_p_value_counts_as_one_with_a_p_value_of_1() -> None:
    assert holm([0.01, math.nan, 0.04]) == pytest.approx([0.03, math.nan, 0.08], nan_ok=True)
    assert holm([0.01, math.nan, 0.04])[[0, 2]] == pytest.approx(holm([0.01, 1.0, 0.04])[[0, 2]])
    assert np.isnan(holm([math.nan])).all()
    assert len(holm([])) == 0
    with pytest.raises(DecisionError, match=r"in 0 … 1, not \[1\.2\]"):
        holm([1.2])


def study(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(-2, 3, 200), rng.integers(0, 15, 200), rng.integers(0, 40, 200)


@given(seed=st.integers(0, 1000))
def test_the_share_of_wins_and_half_the_ties_is_the_net_share_in_other_words(seed: int) -> None:
    values, people, prompts = study(seed)
    found, net = win_share(values, clusters(people, prompts)), preference_estimates(values, people, prompts)["net"]
    assert found.estimate == pytest.approx(((values > 0).sum() + (values == 0).sum() / 2) / 200)
    assert found.estimate == pytest.approx((1 + net.estimate) / 2)
    assert (found.low, found.high) == pytest.approx(((1 + net.low) / 2, (1 + net.high) / 2))
    assert found.p == pytest.approx(net.p)
    swapped = win_share(-values, clusters(people, prompts))
    assert (swapped.low, swapped.high, swapped.p) == pytest.approx((1 - found.high, 1 - found.low, found.p))


def test_a_share_of_wins_stays_within_0_and_1_and_says_why_it_has_no_interval() -> None:
    few = win_share([1, 1, 1, 0], clusters([1, 1, 2, 2], [1, 2, 1, 2]))
    assert 0 <= few.low < few.estimate == 0.875 < few.high == 1
    for values in ([1, 2, 1, 2], [0, 0, 0, 0]):
        unanimous = win_share(values, clusters([1, 1, 2, 2], [1, 2, 1, 2]))
        assert "all values are equal" in unanimous.reason
        assert math.isnan(unanimous.low)
    assert "no ratings" in win_share([], clusters([], [])).reason


def test_two_one_sided_tests_are_those_of_statsmodels_for_independent_values() -> None:
    values = np.random.default_rng(3).normal(0.05, 1, 80)
    each = np.arange(80)
    found = equivalence(mean_estimate(values, clusters(each, each)), 0.3)
    p, (_, below, _), (_, above, _) = DescrStatsW(values).ttost_mean(-0.3, 0.3)
    assert (found.p, found.p_below, found.p_above) == pytest.approx((p, below, above))
    low, high = DescrStatsW(values).tconfint_mean(alpha=0.1)
    assert (found.low, found.high) == pytest.approx((low, high))


@given(value=st.floats(-1, 1), error=st.floats(0.01, 0.5), margin=st.floats(0.01, 1), freedom=st.integers(1, 60))
def test_equivalent_means_that_the_interval_lies_within_the_margin(
    value: float, error: float, margin: float, freedom: int
) -> None:
    estimate = Estimate(value, error, degrees_of_freedom=freedom)
    found = equivalence(estimate, margin)
    if abs(found.p - 0.05) > 1e-9:
        assert found.is_equivalent == (-margin < found.low and found.high < margin) == (found.p < 0.05)
    mirrored = equivalence(Estimate(-value, error, degrees_of_freedom=freedom), margin)
    assert mirrored.p == pytest.approx(found.p)
    assert equivalence(estimate, margin * 2).p <= found.p


def test_a_share_is_equivalent_to_one_half() -> None:
    hits, each = np.arange(2000) % 2, np.arange(2000)
    assert equivalence(share_estimate(hits, clusters(each, each)), 0.05, centre=0.5).is_equivalent
    assert not equivalence(share_estimate(hits, clusters(each, each)), 0.01, centre=0.5).is_equivalent


def test_equivalence_of_nothing_is_a_reason() -> None:
    nothing = equivalence(mean_estimate([], clusters([], [])), 0.1)
    assert (nothing.is_equivalent, nothing.reason) == (False, "there are no ratings")
    assert math.isnan(nothing.p)
    each = np.arange(10)
    assert "no standard error" in equivalence(share_estimate(np.ones(10), clusters(each, each)), 0.1, centre=0.5).reason
    with pytest.raises(DecisionError, match="margin must be above 0, not 0"):
        equivalence(Estimate(0.0, 0.1), 0)
    with pytest.raises(DecisionError, match="α must lie"):
        equivalence(Estimate(0.0, 0.1), 0.1, alpha=0.9)


def test_a_lean_to_the_right_is_seen_and_mirrored() -> None:
    rng = np.random.default_rng(1)
    people, prompts = np.repeat(np.arange(20), 15), rng.integers(0, 60, 300)
    choice = np.clip(np.round(rng.normal(0.5, 1, 300)), -2, 2).astype(int)
    found, mirrored = side_bias(choice, people, prompts), side_bias(-choice, people, prompts)
    assert found.mean.estimate == pytest.approx(choice.mean())
    assert found.sided == (choice != 0).sum()
    assert found.right.estimate == pytest.approx((choice > 0).sum() / found.sided)
    assert found.right.p < 0.01
    assert found.mean.p < 0.01
    assert (mirrored.right.low, mirrored.right.high) == pytest.approx((1 - found.right.high, 1 - found.right.low))
    assert mirrored.right.p == pytest.approx(found.right.p)


@given(seed=st.integers(0, 1000))
def test_the_share_s_test_agrees_with_its_interval(seed: int) -> None:
    values, people, prompts = study(seed)
    right = side_bias(values, people, prompts).right
    if abs(right.p - 0.05) > 1e-6:
        assert (right.p < 0.05) == (not right.low <= 0.5 <= right.high)


def test_sides_of_degenerate_choices() -> None:
    ties = side_bias([0, 0, 0, 0], [1, 1, 2, 2], [1, 2, 1, 2])
    assert ties.sided == 0
    assert ties.right.reason == "no choice is for a side"
    assert math.isnan(ties.right.estimate)
    right = side_bias([2, 1, 2, 1], [1, 1, 2, 2], [1, 2, 1, 2]).right
    assert right.low < right.high == right.estimate == 1
    assert 0 < right.p <= 1
    assert "no ratings" in side_bias([], [], []).right.reason
    with pytest.raises(PreferenceError, match="is 3"):
        side_bias([3], [1], [1])
