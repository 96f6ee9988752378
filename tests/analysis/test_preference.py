"""Shares of the five options, and intervals that know about evaluators and prompts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.analysis.clustered import ClusterError
from evenhand.analysis.preference import (
    CATEGORIES,
    PreferenceError,
    PreferenceShares,
    preference_estimates,
    preference_shares,
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
    people, prompts = range(len(values)), range(len(values))
    net, mirrored = (preference_estimates(v, people, prompts)["net"] for v in (values, [-v for v in values]))
    assert (mirrored.low, mirrored.p) == pytest.approx((-net.high, net.p), nan_ok=True)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 80))
def test_as_many_ratings_on_either_side_are_equal_shares(strong: int, slight: int, none: int, other: int) -> None:
    """1 + 2 ratings of ten against 3 are such a case: 0.1 + 0.2 is not 0.3."""
    much = min(other, strong + slight)
    found = PreferenceShares((strong, slight, none, strong + slight - much, much))
    if found.n:
        assert found.baseline == found.candidate
        assert found.net == 0
    tie = PreferenceShares((1, 2, 4, 3, 0))
    assert (tie.baseline, tie.candidate, tie.net) == (0.3, 0.3, 0.0)


def test_the_paper_s_figure_11_is_read_from_its_counts() -> None:
    """Fig. 11: candidate 60 % (18 % strong), baseline 19 % (2 % strong), of a hundred ratings."""
    found = preference_shares([-2] * 2 + [-1] * 17 + [0] * 21 + [1] * 42 + [2] * 18)
    assert (found.candidate, found.baseline, found.net) == pytest.approx((0.60, 0.19, 0.41))


def test_prompts_are_clusters_as_evaluators_are() -> None:
    rng = np.random.default_rng(4)
    values, one, other = rng.integers(-2, 3, 200), rng.integers(0, 10, 200), rng.integers(0, 25, 200)
    assert preference_estimates(values, one, other) == preference_estimates(values, other, one)


def test_every_category_has_an_estimate() -> None:
    values, people = [-2, -1, 0, 1, 2, 2, 1], ["ada", "grace", "ada", "alan", "grace", "alan", "ada"]
    found = preference_estimates(values, people, range(7))
    assert set(found) == {*CATEGORIES, "baseline", "candidate", "net", "mean"}
    assert found["candidate"].estimate == pytest.approx(4 / 7)
    assert found["mean"].estimate == pytest.approx(3 / 7)
    for name in (*CATEGORIES, "baseline", "candidate"):
        assert 0 <= found[name].low <= found[name].estimate <= found[name].high <= 1
    assert -1 == found["net"].low < 2 / 7 < found["net"].high == 1  # three people: nothing is excluded
    assert 0 < found["net"].p < 1


def test_categories_nobody_chose_take_the_design_effect_of_the_others() -> None:
    """Twelve people who each always choose one option: a category that none chose is as uncertain as twelve answers."""
    people = np.repeat(np.arange(12), 10)
    values = np.where(people < 6, 1, -1)
    found = preference_estimates(values, people, np.arange(120))["none"]
    assert found.low == 0
    assert 0.2 < found.high < 0.4


def test_all_for_one_side_is_said_with_an_interval_of_the_share() -> None:
    found = preference_estimates([2] * 12, [1, 2, 3] * 4, range(12))
    assert found["candidate"].estimate == 1
    assert found["candidate"].low < 0.5  # three people
    assert "all values are equal" in found["net"].reason


def test_nothing_rated_is_nan_not_an_error() -> None:
    found = preference_estimates([], [], [])
    assert all(np.isnan([each.estimate, each.low, each.high]).all() for each in found.values())
    assert {each.reason for each in found.values()} == {"there are no ratings"}


def test_values_that_are_no_preferences_are_named() -> None:
    with pytest.raises(PreferenceError, match="preference 1 is 3"):
        preference_shares([0, 3])
    with pytest.raises(PreferenceError, match=r"preference 0 is 0\.5"):
        preference_estimates([0.5], [1], [1])
    with pytest.raises(ClusterError, match="one length"):
        preference_estimates([0, 1, 2], [1, 2], [1, 2, 3])
