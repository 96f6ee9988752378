"""Shares of the five options, and intervals that know about evaluators and prompts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.analysis.preference import (
    CATEGORIES,
    PreferenceError,
    PreferenceShares,
    clustered_intervals,
    preference_shares,
    sign_test,
)

preferences = st.lists(st.integers(-2, 2), max_size=60)


@given(preferences)
def test_the_shares_are_the_counts_and_add_up(values: list[int]) -> None:
    found = preference_shares(values)
    assert found.counts == tuple(values.count(v) for v in range(-2, 3))
    if values:
        assert found.shares.sum() == pytest.approx(1)
        assert found.baseline + found.shares[2] + found.candidate == pytest.approx(1)
    else:
        assert np.isnan(found.shares).all()


@given(preferences)
def test_swapping_the_arms_mirrors_everything(values: list[int]) -> None:
    here, there = preference_shares(values), preference_shares([-v for v in values])
    assert there.counts == here.counts[::-1]
    assert there.net == pytest.approx(-here.net, nan_ok=True)
    assert sign_test([-v for v in values]) == pytest.approx(sign_test(values))


def test_the_paper_s_figure_11_is_read_from_its_counts() -> None:
    """Fig. 11: candidate 60 % (18 % strong), baseline 19 % (2 % strong), of a hundred ratings."""
    found = preference_shares([-2] * 2 + [-1] * 17 + [0] * 21 + [1] * 42 + [2] * 18)
    assert (found.candidate, found.baseline, found.net) == pytest.approx((0.60, 0.19, 0.41))


def test_the_interval_is_wilson_s() -> None:
    """Nine of ten: 0.5958 – 0.9821 (Newcombe 1998's method 3, R's prop.test without correction)."""
    low, high = PreferenceShares((1, 0, 0, 0, 9)).interval((4,))
    assert (low, high) == pytest.approx((0.5958, 0.9821), abs=5e-5)
    assert np.isnan(PreferenceShares((0, 0, 0, 0, 0)).interval((4,))).all()


def test_the_sign_test_is_exact_and_leaves_ties_out() -> None:
    """Eight against two: 2·(1 + 10 + 45)/2¹⁰."""
    assert sign_test([1] * 5 + [2] * 3 + [-2] * 2 + [0] * 40) == pytest.approx(112 / 1024)
    assert sign_test([0, 0, 0]) == 1.0
    assert sign_test([]) == 1.0


def test_independent_ratings_get_the_binomial_width() -> None:
    """One rating an evaluator and one prompt for all leaves the plain bootstrap, whose error is √(p(1−p)/n)."""
    n = 400
    values = np.where(np.arange(n) < 240, 1, -1)
    found = clustered_intervals(values, np.arange(n), np.zeros(n), np.random.default_rng(1))["candidate"]
    assert found.estimate == pytest.approx(0.6)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.24 / n), rel=0.1)


def test_more_ratings_of_the_same_evaluators_do_not_narrow_the_interval() -> None:
    """Twenty evaluators who always answer alike hold twenty answers, however many pairs each rates."""
    rng = np.random.default_rng(2)
    opinions = np.where(rng.random(20) < 0.6, 1, -1)
    widths = []
    for pairs in (1, 30):
        evaluators = np.repeat(np.arange(20), pairs)
        prompts = np.zeros(20 * pairs)
        found = clustered_intervals(opinions[evaluators], evaluators, prompts, np.random.default_rng(3))["candidate"]
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_prompts_are_clusters_as_evaluators_are() -> None:
    rng = np.random.default_rng(4)
    values, one, other = rng.integers(-2, 3, 200), rng.integers(0, 10, 200), rng.integers(0, 25, 200)
    here = clustered_intervals(values, one, other, np.random.default_rng(5), resamples=4000)["net"]
    there = clustered_intervals(values, other, one, np.random.default_rng(6), resamples=4000)["net"]
    assert (there.low, there.high) == pytest.approx((here.low, here.high), abs=0.03)


def test_intervals_hold_every_category_and_the_same_seed_gives_the_same_numbers() -> None:
    values, people = [-2, -1, 0, 1, 2, 2, 1], ["ada", "grace", "ada", "alan", "grace", "alan", "ada"]
    first, second = (
        clustered_intervals(values, people, range(7), np.random.default_rng(7), resamples=200) for _ in range(2)
    )
    assert first == second
    assert set(first) == {*CATEGORIES, "baseline", "candidate", "net"}
    assert first["candidate"].estimate == pytest.approx(4 / 7)
    for name in ("baseline", "candidate"):
        assert 0 <= first[name].low <= first[name].estimate <= first[name].high <= 1


def test_nothing_rated_is_nan_not_an_error() -> None:
    found = clustered_intervals([], [], [], np.random.default_rng(0))
    assert all(np.isnan([each.estimate, each.low, each.high]).all() for each in found.values())


def test_values_that_are_no_preferences_are_named() -> None:
    with pytest.raises(PreferenceError, match="preference 1 is 3"):
        preference_shares([0, 3])
    with pytest.raises(PreferenceError, match=r"preference 0 is 0\.5"):
        sign_test([0.5])
    with pytest.raises(PreferenceError, match="2 cluster labels for 3 preferences"):
        clustered_intervals([0, 1, 2], [1, 2], [1, 2, 3], np.random.default_rng(0))
