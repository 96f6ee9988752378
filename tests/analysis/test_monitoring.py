"""The confidence sequence: its formula, its width, and that it holds however often one looks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.looks import measure
from evenhand.analysis.clustered import Estimate, clusters, mean_estimate
from evenhand.analysis.monitoring import MonitoringError, sequence_factor, sequence_interval
from evenhand.analysis.simulated_study import Design, matched_model


def test_the_factor_is_robbins_mixture_by_hand() -> None:
    """α = 0.05 at the planned number: tρ² = 5.99146 + log 6.99146 = 7.93615, c² = 1.12600 · log(8.93615 / 0.0025)."""
    assert sequence_factor(50, 10**7, planned=50) == pytest.approx(math.sqrt(1.126005 * 8.181601), abs=1e-4)


def test_few_clusters_are_carried_over_to_student_s_t() -> None:
    normal = sequence_factor(17, 10**7, planned=17)
    student = sequence_factor(17, 16, planned=17)
    assert stats.t.sf(student, 16) == pytest.approx(stats.norm.sf(normal), rel=1e-4)
    assert student > normal


@given(planned=st.integers(2, 500), other=st.integers(1, 2000), freedom=st.integers(1, 500))
def test_it_is_wider_than_one_look_and_narrowest_near_the_plan(planned: int, other: int, freedom: int) -> None:
    """Times the error, which falls as one over the root of the evaluators, the width is smallest near the plan's."""
    factor = sequence_factor(other, freedom, planned=planned)
    assert factor > stats.t.ppf(0.975, freedom)
    ends = [sequence_factor(each, 10**7, planned=planned) for each in (planned, 8 * planned)]
    assert ends[0] < ends[1]
    assert sequence_factor(max(planned // 8, 1), 10**7, planned=max(planned, 16)) > ends[0]


def test_the_interval_is_around_the_estimate_and_within_what_is_possible() -> None:
    rng = np.random.default_rng(0)
    people, prompts = np.repeat(np.arange(20), 10), rng.integers(0, 50, 200)
    estimate = mean_estimate(rng.integers(-1, 2, 200), clusters(people, prompts))
    found = sequence_interval(estimate, 20, planned=20)
    reach = sequence_factor(20, estimate.degrees_of_freedom, planned=20) * estimate.standard_error
    assert (found.low, found.high) == pytest.approx((estimate.estimate - reach, estimate.estimate + reach))
    assert found.low < estimate.low < estimate.high < found.high
    assert math.isnan(found.p)
    few = sequence_interval(Estimate(0.9, 0.2, 0.1, 1.0, 0.01, 3), 4, planned=20)
    assert (few.low, few.high) == (-1.0, 1.0)


def test_what_has_no_interval_keeps_its_reason() -> None:
    without = Estimate(0.3, reason="all ratings are of one evaluator")
    assert sequence_interval(without, 1, planned=20) is without
    with pytest.raises(MonitoringError, match="planned 0"):
        sequence_interval(Estimate(0.0), 3, planned=0)


def test_looking_after_everybody_finds_nothing_by_it_and_much_without_it() -> None:
    """100 studies of the paper's size without a difference, evaluators who differ: of intervals about 20 are fooled."""
    model = matched_model([0.10, 0.295, 0.21, 0.295, 0.10], 0.25, 0.15)
    found = measure(Design(17, 15, 150), model, 100, seed=1)
    assert found["interval_at_every_look"] > 0.10
    assert found["sequence_at_every_look"] <= 0.04
    assert found["interval_at_the_end"] < 0.12
