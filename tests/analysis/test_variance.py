"""Variance components against the analysis of variance, simulated truth, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.analysis.clustered import ClusterError, clusters
from evenhand.analysis.tallies import table
from evenhand.analysis.variance import VarianceComponents, tallied_components, variance_components
from tests.helpers.wine import BOTTLE, JUDGE, RATING, RATINGS


def analysis_of_variance(table: np.ndarray) -> tuple[float, float, float]:
    """The components of a full table (evaluators, prompts), from its mean squares."""
    rows, columns = table.shape
    by_row, by_column = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    rest = ((table - by_row - by_column + table.mean()) ** 2).sum() / ((rows - 1) * (columns - 1))
    between_rows = columns * ((by_row - table.mean()) ** 2).sum() / (rows - 1)
    between_columns = rows * ((by_column - table.mean()) ** 2).sum() / (columns - 1)
    return (between_rows - rest) / columns, (between_columns - rest) / rows, rest


def test_wine_has_the_components_of_its_analysis_of_variance() -> None:
    found = variance_components(RATING, clusters(JUDGE, BOTTLE))
    expected = analysis_of_variance(RATINGS.astype(float))
    assert (found.evaluator, found.prompt, found.residual) == pytest.approx(expected)
    assert expected == pytest.approx((0.196925, 0.474206, 0.549603), abs=1e-6)
    assert found.evaluator_correlation == pytest.approx(0.196925 / 1.220734, abs=1e-6)
    assert found.prompt_correlation == pytest.approx(0.474206 / 1.220734, abs=1e-6)
    assert found.truncated == found.reasons == ()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(2, 8), columns=st.integers(2, 8))
def test_full_tables_have_the_components_of_their_analysis_of_variance(seed: int, rows: int, columns: int) -> None:
    table = np.random.default_rng(seed).normal(size=(rows, columns))
    one, other = (index.ravel() for index in np.indices(table.shape))
    found = variance_components(table.ravel(), clusters(one, other))
    for name, expected in zip(("evaluator", "prompt", "residual"), analysis_of_variance(table), strict=True):
        assert getattr(found, name) == pytest.approx(max(expected, 0.0), abs=1e-9)
        assert (name in found.truncated) == (expected < 0) or abs(expected) < 1e-12


def test_unbalanced_ratings_give_back_their_variances_on_average() -> None:
    """17 evaluators × 15 trials of 150 prompts; 600 studies, whose estimates have standard deviations near 0.1."""
    rng, found = np.random.default_rng(1), []
    people = np.repeat(np.arange(17), 15)
    for _ in range(600):
        prompts = rng.permutation(np.tile(np.arange(150), 2))[:255]
        values = rng.normal(size=17)[people] * np.sqrt(0.3) + rng.normal(size=150)[prompts] * np.sqrt(0.4)
        components = variance_components(values + rng.normal(size=255) * np.sqrt(0.3), clusters(people, prompts))
        found.append((components.evaluator, components.prompt, components.residual))
    assert np.mean(found, axis=0) == pytest.approx([0.3, 0.4, 0.3], abs=0.02)


def unbalanced(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    people, prompts = rng.integers(0, 9, 120), rng.integers(0, 25, 120)
    return rng.integers(-2, 3, 120) + rng.normal(size=9)[people] + rng.normal(size=25)[prompts], people, prompts


def three(found: VarianceComponents) -> tuple[float, float, float]:
    return found.evaluator, found.prompt, found.residual


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_shift_a_scale_and_the_roles_change_what_they_should(seed: int) -> None:
    values, people, prompts = unbalanced(seed)
    here = three(variance_components(values, clusters(people, prompts)))
    assert three(variance_components(3 - 2 * values, clusters(people, prompts))) == pytest.approx(
        [4 * each for each in here], abs=1e-9
    )
    swapped = variance_components(values, clusters(prompts, people))
    assert (swapped.prompt, swapped.evaluator, swapped.residual) == pytest.approx(here, abs=1e-9)
    order = np.random.default_rng(seed).permutation(120)
    again = variance_components(values[order], clusters(people[order], prompts[order]))
    assert three(again) == pytest.approx(here, abs=1e-9)


def test_an_estimate_below_0_is_set_to_0_and_named() -> None:
    """Two evaluators whose means are equal, though single ratings differ."""
    found = variance_components([1, -1, -1, 1], clusters([1, 1, 2, 2], [1, 2, 1, 2]))
    assert found.truncated == ("evaluator", "prompt")
    assert found.evaluator == found.prompt == found.evaluator_correlation == 0
    assert found.residual == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("people", "prompts", "missing", "reason"),
    [
        ([1, 1, 1, 2, 2, 2], [1, 2, 3, 4, 5, 6], "prompt", "no prompt has two ratings"),
        ([1, 2, 3, 4, 5, 6], [1, 1, 1, 2, 2, 2], "evaluator", "no evaluator has two ratings"),
        ([1, 1, 1, 1, 1, 1], [1, 1, 2, 2, 3, 3], "evaluator", "all ratings are of one evaluator"),
        ([1, 1, 2, 2, 3, 3], [1, 1, 1, 1, 1, 1], "prompt", "all ratings are of one prompt"),
    ],
)
def test_what_the_data_do_not_tell_is_nan_and_said(people: list, prompts: list, missing: str, reason: str) -> None:
    found = variance_components([1.0, 2, 4, 3, 1, 0], clusters(people, prompts))
    assert np.isnan(getattr(found, missing))
    assert np.isnan(getattr(found, f"{missing}_correlation"))
    assert np.isfinite(found.residual)
    assert reason in found.reasons[0]


def test_one_way_components_are_those_of_one_way_analysis_of_variance() -> None:
    """Two groups of three: mean squares 1.5 (between) and 7/3 … by hand: groups 1, 2, 4 and 3, 1, 0."""
    found = variance_components([1.0, 2, 4, 3, 1, 0], clusters([1, 1, 1, 2, 2, 2], range(6)))
    within = (14 / 3 + 14 / 3) / 4
    between = 3 * 2 * (1 / 2) ** 2
    assert found.residual == pytest.approx(within)
    assert found.evaluator == max((between - within) / 3, 0.0) == 0
    assert found.truncated == ("evaluator",)


@pytest.mark.parametrize(
    ("values", "people", "prompts", "reason"),
    [
        ([], [], [], "fewer than two ratings"),
        ([1.0], [1], [1], "fewer than two ratings"),
        ([1.0, 1, 1], [1, 1, 2], [1, 2, 2], "all values are equal"),
        ([1.0, 2, 3, 5], [1, 1, 2, 2], [1, 1, 2, 2], "go together"),
    ],
)
def test_nothing_to_divide_is_a_reason(values: list, people: list, prompts: list, reason: str) -> None:
    found = variance_components(values, clusters(people, prompts))
    assert reason in found.reasons[0]
    assert np.isnan([found.evaluator, found.prompt, found.residual, found.evaluator_correlation]).all()


def test_labels_that_do_not_fit_are_named() -> None:
    with pytest.raises(ClusterError, match=r"2 cluster labels for values of shape \(3,\)"):
        variance_components([1, 2, 3], clusters([1, 2], [1, 2]))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), people=st.integers(1, 6), prompts=st.integers(1, 9), kinds=st.integers(1, 5))
def test_counts_have_the_components_of_the_ratings_they_count(seed: int, people: int, prompts: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    person, prompt = np.nonzero(rng.random((people, prompts)) < rng.random())
    category = rng.integers(0, kinds, len(person))
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    single = variance_components(values[category], clusters(person, prompt))
    counted = tallied_components(values, table(category, 5, person, people), table(category, 5, prompt, prompts))
    assert counted.reasons == single.reasons
    for name in ("evaluator", "prompt", "residual"):
        one, other = getattr(single, name), getattr(counted, name)
        assert one == pytest.approx(other, abs=1e-9, nan_ok=True)
