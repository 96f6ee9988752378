"""Means and shares of ratings clustered by evaluator and by prompt, against known answers and another library."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.analysis.clustered import (
    ClusterError,
    clusters,
    design_effect,
    influence_estimate,
    mean_estimate,
    share_estimate,
    two_way_covariance,
)
from tests.helpers.wine import BOTTLE, JUDGE, RATING

WINE = clusters(JUDGE, BOTTLE)


def test_the_wine_data_have_the_known_errors() -> None:
    """R's sandwich 3.0.2, vcovCL of an intercept, HC1, multi0 = FALSE, clusters judge and bottle."""
    mean = mean_estimate(RATING - 3, WINE)
    assert (mean.estimate, mean.standard_error) == pytest.approx((-0.0833333, 0.28369029), abs=5e-8)
    share = mean_estimate(RATING > 3, WINE)
    assert (share.estimate, share.standard_error) == pytest.approx((0.26388889, 0.10501878), abs=5e-8)
    for labels, known in ((JUDGE, 0.17179607), (BOTTLE, 0.25866807)):
        one_way = two_way_covariance(RATING - RATING.mean(), clusters(labels, labels))
        assert math.sqrt(one_way[0, 0]) / len(RATING) == pytest.approx(known, abs=5e-8)
    assert mean.degrees_of_freedom == 7


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), people=st.integers(3, 12), prompts=st.integers(3, 20))
def test_statsmodels_finds_the_same_two_way_error(seed: int, people: int, prompts: int) -> None:
    rng = np.random.default_rng(seed)
    n = 4 * people * prompts // 3
    one, other = rng.integers(people, size=n), rng.integers(prompts, size=n)
    values = rng.integers(-2, 3, n) + rng.normal(size=people)[one] + rng.normal(size=prompts)[other]
    if min(len(set(one.tolist())), len(set(other.tolist()))) < 2:
        return
    fitted = sm.OLS(values, np.ones(n)).fit(
        cov_type="cluster", cov_kwds={"groups": np.column_stack([one, other]), "use_correction": True}
    )
    theirs = float(fitted.cov_params()[0, 0])
    groups = clusters(one, other)
    z = values - values.mean()
    ours = mean_estimate(values, groups).standard_error ** 2
    floor = max(two_way_covariance(z, clusters(each, each))[0, 0] for each in (one, other)) / n**2
    assert ours == pytest.approx(max(theirs, floor), rel=1e-9)


def test_ratings_of_nobody_twice_are_independent() -> None:
    values = np.array([1.0, -1, 0, 2, 1, 1, -2, 0, 1, 1])
    groups = clusters(np.arange(10), np.arange(10))
    assert mean_estimate(values, groups).standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(10))
    assert design_effect(values > 0, groups) == pytest.approx(10 / 9)


def test_evaluators_who_always_answer_alike_hold_one_answer_each() -> None:
    rng = np.random.default_rng(2)
    opinions = rng.integers(0, 2, 20)
    errors = []
    for count in (1, 30):
        people = np.repeat(np.arange(20), count)
        groups = clusters(people, np.arange(20 * count))
        errors.append(mean_estimate(opinions[people], groups).standard_error)
    assert errors[1] == pytest.approx(errors[0], rel=0.03)


def test_the_share_of_independent_ratings_is_wilson_s_with_student_s_t() -> None:
    """p = 0.6, n = 200 in 200 clusters each way: the design effect is n/(n − 1), so Wilson's with n = 199."""
    hits = np.arange(200) < 120
    found = share_estimate(hits, clusters(np.arange(200), np.arange(200)))
    assert (found.low, found.high) == pytest.approx((0.5304, 0.6656), abs=5e-4)


@pytest.mark.parametrize("value", [0, 1])
def test_a_unanimous_share_never_has_an_interval_of_width_zero(value: int) -> None:
    people, prompts = np.repeat(np.arange(6), 5), np.tile(np.arange(5), 6)
    groups = clusters(people, prompts)
    alone = share_estimate(np.full(30, value), groups)
    told = share_estimate(np.full(30, value), groups, effect=3.0)
    assert alone.estimate == told.estimate == value
    assert 0.2 < told.high - told.low < alone.high - alone.low < 0.8
    assert value in (alone.low, alone.high)


@pytest.mark.parametrize(
    ("people", "prompts", "reason"),
    [([1, 1, 1], [1, 2, 3], "of one evaluator"), ([1, 2, 3], [1, 1, 1], "of one prompt"), ([], [], "no ratings")],
)
def test_one_cluster_of_a_kind_has_no_interval_and_a_reason(people: list[int], prompts: list[int], reason: str) -> None:
    groups = clusters(people, prompts)
    values = np.arange(len(people)) % 2
    for found in (mean_estimate(values, groups), share_estimate(values, groups)):
        assert reason in found.reason
        assert math.isnan(found.low)
        assert math.isnan(found.high)
        assert math.isnan(found.p)


def test_clusters_that_all_agree_have_no_interval_of_width_zero() -> None:
    """Each evaluator and each prompt has the mean 1/3, though ratings differ."""
    people, prompts = (index.ravel() for index in np.indices((3, 3)))
    found = mean_estimate([1, 0, 0, 0, 1, 0, 0, 0, 1], clusters(people, prompts))
    assert found.estimate == pytest.approx(1 / 3)
    assert "no evaluator and no prompt differs" in found.reason
    assert math.isnan(found.low)


def test_what_each_rating_adds_gives_any_estimate_its_interval() -> None:
    z = RATING - RATING.mean()
    found = influence_estimate(5.0, z / len(z), WINE, null=5.0)
    mean = mean_estimate(RATING, WINE)
    assert found.standard_error == mean.standard_error
    assert (found.low + found.high) / 2 == pytest.approx(5.0)
    assert found.p == pytest.approx(1)


@given(seed=st.integers(0, 2**32), null=st.floats(0.05, 0.95))
def test_the_test_of_a_share_agrees_with_its_interval(seed: int, null: float) -> None:
    rng = np.random.default_rng(seed)
    hits, groups = rng.random(60) < 0.6, clusters(rng.integers(0, 9, 60), rng.integers(0, 20, 60))
    found = share_estimate(hits, groups, null=null)
    if abs(found.p - 0.05) > 1e-6:
        assert (found.p < 0.05) == (not found.low <= null <= found.high)
    assert math.isnan(share_estimate(hits, groups).p)


def test_equal_values_have_no_error_and_a_reason() -> None:
    found = mean_estimate([2, 2, 2, 2], clusters([1, 1, 2, 2], [1, 2, 1, 2]))
    assert found.estimate == 2
    assert "all values are equal" in found.reason
    assert math.isnan(found.low)


def test_the_test_is_of_the_value_that_is_asked_for() -> None:
    mean = mean_estimate(RATING, WINE, null=float(RATING.mean()))
    assert mean.p == pytest.approx(1.0)
    assert mean_estimate(RATING, WINE).p < 1e-4


def test_labels_that_do_not_fit_are_named() -> None:
    with pytest.raises(ClusterError, match="one length"):
        clusters([1, 2], [1, 2, 3])
    with pytest.raises(ClusterError, match="3 cluster labels for 2 values"):
        two_way_covariance([1.0, 2.0], clusters([1, 2, 3], [1, 2, 3]))
