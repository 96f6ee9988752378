"""What is told of a metric and people is what it is defined as, whatever the rows' order, side and unit."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evenhand.analysis.clustered import Estimate, clusters, share_estimate
from evenhand.analysis.metric_agreement import MetricAgreement, MetricAgreementError, metric_agreement
from tests.helpers.rated_pairs import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"
RNG = np.random.default_rng
STUDIES = 1000


def estimates(found: MetricAgreement) -> tuple[Estimate, Estimate, Estimate]:
    return found.accuracy, found.calibrated.held_out, found.tau


def drawn(seed: int, prompts: int = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = RNG(seed)
    difference = np.round(rng.normal(size=2 * prompts), 2)
    preference = np.clip(np.round(2 * (difference + rng.normal(size=2 * prompts))) / 2, -2, 2)
    return difference, preference, np.repeat(np.arange(prompts), 2)


# ------------------------------------------------------------------------------ definition


def test_ties_count_where_both_tie() -> None:
    """Eight pairs: right twice, both tie once; the metric ties, people tie, and both differ once each or twice."""
    difference = [0.3, -0.2, 0.0, 0.0, 0.1, -0.4, 0.5, 0.05]
    preference = [2.0, -0.5, 0.0, 1.0, 0.0, 1.5, -1.0, 0.0]
    found = metric_agreement(difference, preference, range(8))
    assert found.accuracy.estimate == 3 / 8
    # up to 0.1 two more ties are right, and none is lost; up to 0.2 the right −0.2 is lost
    assert found.calibrated.threshold == 0.1
    assert found.calibrated.in_sample == 5 / 8
    assert found.tau.estimate == pytest.approx(stats.kendalltau(difference, preference).statistic)
    assert found.most_common == 3 / 8
    assert (found.rows, found.left_out) == (8, ())


def test_the_accuracy_has_the_interval_of_a_share() -> None:
    difference, preference, prompt = drawn(1)
    person = np.arange(50) % 7
    met = np.sign(difference) == np.sign(preference)
    found = metric_agreement(difference, preference, prompt, evaluators=person, level=0.9)
    assert found.accuracy == share_estimate(met, clusters(person, prompt), level=0.9)
    assert found.tau.degrees_of_freedom == found.calibrated.held_out.degrees_of_freedom == 6
    alone = metric_agreement(difference, preference, prompt)
    assert alone.accuracy == share_estimate(met, clusters(range(50), prompt))
    assert alone.tau.degrees_of_freedom == 24


def test_differences_that_are_not_finite_are_left_out_and_named() -> None:
    difference, preference, prompt = drawn(2)
    spoilt = np.insert(difference, [0, 10, 50], [np.nan, np.inf, -np.inf])
    found = metric_agreement(spoilt, np.insert(preference, [0, 10, 50], 1), np.insert(prompt, [0, 10, 50], 99))
    assert found.left_out == (0, 11, 52)
    assert replace(found, left_out=()) == metric_agreement(difference, preference, prompt)


# ------------------------------------------------------------------------------ symmetries


SEEDS = st.integers(0, 10_000)


def assert_same(one: MetricAgreement, other: MetricAgreement, scale: float = 1.0) -> None:
    assert other.calibrated.threshold == pytest.approx(scale * one.calibrated.threshold)
    assert other.calibrated.in_sample == one.calibrated.in_sample
    for before, after in zip(estimates(one), estimates(other), strict=True):
        assert after.reason == before.reason
        for name in ("estimate", "low", "high"):
            assert getattr(after, name) == pytest.approx(getattr(before, name), nan_ok=True)


@settings(deadline=None, max_examples=15)
@given(SEEDS)
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    columns = drawn(seed)
    order = RNG(seed).permutation(50)
    assert_same(metric_agreement(*columns), metric_agreement(*(each[order] for each in columns)))


@settings(deadline=None, max_examples=15)
@given(SEEDS, st.sampled_from([-8.0, -1.0, 0.125, 1024.0]))
def test_neither_the_unit_nor_which_arm_is_the_candidate_matters(seed: int, factor: float) -> None:
    difference, preference, prompt = drawn(seed)
    found = metric_agreement(difference, preference, prompt)
    turned = metric_agreement(factor * difference, np.sign(factor) * preference, prompt)
    assert_same(found, turned, abs(factor))


def test_a_metric_that_says_the_opposite_has_the_opposite_order() -> None:
    difference, preference, prompt = drawn(4)
    one, other = metric_agreement(difference, preference, prompt), metric_agreement(-difference, preference, prompt)
    assert other.tau.low == pytest.approx(-one.tau.high)
    assert other.accuracy.estimate < one.accuracy.estimate


# ------------------------------------------------------------------------------ degenerate


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 0.5, -0.5, 1.0, math.nan, math.inf]),
            st.sampled_from([-2.0, -0.5, 0.0, 0.0, 1.0]),
            st.integers(0, 3),
            st.integers(0, 2),
        ),
        max_size=14,
    ),
    st.booleans(),
)
def test_whatever_is_given_there_is_an_interval_with_a_width_or_a_reason(rows: list, by_person: bool) -> None:
    difference, preference, prompt, person = np.array(rows, dtype=float).reshape(-1, 4).T
    found = metric_agreement(difference, preference, prompt, evaluators=person if by_person else None)
    for estimate, lowest in zip(estimates(found), (0, 0, -1), strict=True):
        if estimate.reason:
            assert math.isnan(estimate.low)
            continue
        assert lowest <= estimate.low <= estimate.estimate <= estimate.high <= 1
        assert estimate.high - estimate.low > 0.01
    assert math.isnan(found.calibrated.threshold) == bool(found.calibrated.held_out.reason)
    assert found.rows + len(found.left_out) == len(rows)


@pytest.mark.parametrize(
    ("difference", "preference", "prompts", "reasons"),
    [
        ([], [], [], ("no pairs", "no pairs", "no pairs")),
        ([math.nan], [1], ["dog"], ("no pairs", "no pairs", "no pairs")),
        ([0.1, 0.2, -0.3], [1, -1, 0], ["dog"] * 3, ("one prompt", "one prompt", "one prompt")),
        ([0.1, 0.2, -0.3], [0, 0, 0], ["dog", "cat", "hat"], ("", "", "people's preferences are all equal")),
        ([0.0, 0.0, 0.0], [1, -1, 0], ["dog", "cat", "hat"], ("", "", "the metric's differences are all equal")),
        ([0.2, 0.2, 0.2], [1, 1, 1], ["dog", "cat", "hat"], ("", "", "the metric's differences are all equal")),
    ],
)
def test_reasons_are_plain(difference: list, preference: list, prompts: list, reasons: tuple) -> None:
    found = metric_agreement(difference, preference, prompts)
    for estimate, reason in zip(estimates(found), reasons, strict=True):
        assert reason in estimate.reason
        assert bool(estimate.reason) == bool(reason)


def test_one_evaluator_does_not_tell_of_others() -> None:
    found = metric_agreement([0.1, -0.2, 0.3], [1, -1, -2], [1, 2, 3], evaluators=["ann"] * 3)
    assert all("one evaluator" in estimate.reason for estimate in estimates(found))
    assert found.accuracy.estimate == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0.1, 0.2], [1, 3], [1, 2]), r"preference 1 is 3, outside −2 … \+2"),
        (([0.1, 0.2], [math.nan, 1], [1, 2]), "preference 0 is nan"),
        (([0.1, 0.2], [1], [1, 2]), r"\(2,\), \(1,\), \(2,\)"),
        (([[0.1, 0.2]], [[1, 1]], [[1, 2]]), "not lists of one length"),
    ],
)
def test_bad_columns_are_named(columns: tuple, message: str) -> None:
    with pytest.raises(MetricAgreementError, match=message):
        metric_agreement(*columns)


# ------------------------------------------------------------------------------ coverage


def on_the_page(measure: str, prompts: int) -> tuple[float, float]:
    """Lowest and highest coverage that the page's table names, %."""
    row = re.search(rf"^\| {re.escape(measure)} \| (.*) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert row is not None, measure
    low, high = row[1 if prompts == 30 else 2].split(" … ")
    return float(low), float(high)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompts", [30, 200])
def test_intervals_hold_as_often_as_the_page_says(prompts: int, kind: str) -> None:
    """A thousand studies of each kind; the calibrated accuracy's truth is that of the thresholds that were found."""
    simulated, rng = KINDS[kind], RNG(1)
    found, fair = [], []
    for _ in range(STUDIES):
        rows = simulated.draw(prompts, rng)
        each = metric_agreement(rows.difference, rows.preference, rows.prompt, evaluators=rows.evaluator)
        found.append([(estimate.low, estimate.high) for estimate in estimates(each)])
        fair.append(simulated.accuracy(each.calibrated.threshold))
    truths = np.array([simulated.accuracy(0.0), np.mean(fair), simulated.tau])
    low, high = np.moveaxis(np.array(found), 2, 0)
    covered = 100 * ((low <= truths) & (truths <= high)).mean(axis=0)
    for measure, share in zip(("accuracy, ε = 0", "accuracy, ε calibrated", "τ-b"), covered, strict=True):
        assert 93 <= round(share) <= 98, (measure, share)
        least, most = on_the_page(measure, prompts)
        assert least - 0.5 <= share <= most + 0.5, (measure, share)
