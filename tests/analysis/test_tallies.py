"""Tallies: the same estimates as from single ratings, for any ratings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.analysis.agreement import (
    alpha_interval,
    changes_by_person,
    coincidence_matrices,
    count_ratings,
)
from evenhand.analysis.clustered import (
    ClusterError,
    Clusters,
    Estimate,
    clusters,
    influence_estimate,
    mean_estimate,
    share_estimate,
)
from evenhand.analysis.davidson import fit_comparisons, fit_tallied
from evenhand.analysis.decisions import win_share
from evenhand.analysis.ordinal import OrdinalError, fit_cumulative_link
from evenhand.analysis.tallies import tally
from evenhand.analysis.variance import solve_components

VALUES = np.arange(-2, 3)


@st.composite
def rated(draw: st.DrawFn) -> tuple[np.ndarray, Clusters]:
    """Preferences by few evaluators of few prompts, some cells rated several times."""
    n = draw(st.integers(2, 40))
    numbers = st.lists(st.integers(0, 5), min_size=n, max_size=n)
    preference = np.array(draw(st.lists(st.integers(-2, 2), min_size=n, max_size=n)))
    return preference, clusters(draw(numbers), draw(numbers))


def close(one: Estimate, other: Estimate) -> bool:
    """Equal but for rounding, which an error of nothing at all may show in its eighth digit."""
    assert one.reason == other.reason
    return all(
        np.isclose(getattr(one, name), getattr(other, name), rtol=1e-7, atol=1e-7, equal_nan=True)
        for name in ("estimate", "standard_error", "low", "high", "p", "degrees_of_freedom")
    )


@given(rated())
def test_means_shares_and_weighted_sums_are_those_of_the_single_ratings(data: tuple[np.ndarray, Clusters]) -> None:
    preference, groups = data
    counted = tally(preference + 2, 5, groups.evaluator, groups.prompt)
    assert counted.n == len(preference)
    assert close(mean_estimate(VALUES, counted), mean_estimate(preference, groups))
    assert close(win_share(VALUES, counted), win_share(preference, groups))
    assert close(share_estimate(VALUES > 0, counted, null=0.5), share_estimate(preference > 0, groups, null=0.5))
    if np.ptp(preference) == 0:
        return  # weights of one category alone leave nothing but rounding
    added = np.array([0.3, -0.1, 0.2, 0.0, 1.0])
    added -= counted.total(added) / counted.n
    assert close(influence_estimate(1.0, added, counted), influence_estimate(1.0, added[preference + 2], groups))


def example(once: bool, seed: int = 3) -> tuple[np.ndarray, Clusters]:
    rng = np.random.default_rng(seed)
    cells = rng.permutation(20 * 30)[:300] if once else rng.integers(0, 20 * 30, 300)
    people, prompts = cells // 30, cells % 30
    latent = 0.5 + 0.8 * rng.normal(size=20)[people] + 0.8 * rng.normal(size=30)[prompts] + rng.normal(size=300)
    return np.clip(np.rint(latent), -2, 2).astype(int), clusters(people, prompts)


@pytest.mark.parametrize("once", [True, False])
def test_a_cumulative_link_of_counted_ratings_is_that_of_the_single_ones(once: bool) -> None:
    preference, groups = example(once)
    options: dict[str, Any] = {"count": 5, "symmetric": True, "names": ["lead"]}
    one = fit_cumulative_link(preference + 2, np.ones((300, 1)), groups=groups, **options)
    counted = tally(preference + 2, 5, groups.evaluator, groups.prompt)
    other = fit_cumulative_link(np.arange(5), np.ones((5, 1)), groups=counted, **options)
    assert close(one.coefficient("lead"), other.coefficient("lead"))
    assert other.thresholds == pytest.approx(one.thresholds, abs=1e-9)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, rel=1e-12)


def test_a_cumulative_link_leaves_out_what_does_not_occur_and_needs_something() -> None:
    counted = tally([4, 3, 4, 1], 5, [0, 0, 1, 1], [0, 1, 0, 1])
    fit = fit_cumulative_link(np.arange(5), np.ones((5, 1)), count=5, symmetric=True, groups=counted)
    assert fit.categories == (0, 1, 3, 4)
    with pytest.raises(OrdinalError, match="no ratings"):
        fit_cumulative_link(np.arange(5), np.ones((5, 1)), count=5, symmetric=True, groups=tally([], 5, [], []))


@pytest.mark.parametrize("once", [True, False])
def test_davidsons_scores_of_counted_comparisons_are_those_of_the_single_ones(once: bool) -> None:
    preference, groups = example(once)
    comparison = np.random.default_rng(8).integers(0, 3, 300)
    first, second = np.array([1, 2, 2]), np.array([0, 0, 1])
    one = fit_comparisons(first[comparison], second[comparison], preference, groups, items=("cfg", "a5", "a10"))
    signs = np.tile([-1, 0, 1], 3)
    counted = tally(3 * comparison + np.sign(preference) + 1, 9, groups.evaluator, groups.prompt)
    other = fit_tallied(np.repeat(first, 3), np.repeat(second, 3), signs, counted, items=("cfg", "a5", "a10"))
    assert other.fit.strengths == pytest.approx(one.fit.strengths, abs=1e-9)
    assert close(one.difference("a10", "cfg"), other.difference("a10", "cfg"))
    assert close(one.above_average("a5"), other.above_average("a5"))


def test_variance_components_need_no_cells_where_nobody_rated_a_prompt_twice() -> None:
    preference, groups = example(once=True)
    kinds = [("evaluator", groups.evaluator, groups.evaluators), ("prompt", groups.prompt, groups.prompts)]
    centred = preference - preference.mean()
    assert groups.rated_once
    assert solve_components(centred, kinds, once=True) == pytest.approx(solve_components(centred, kinds, once=False))


def test_the_jackknife_over_people_adds_up_single_ratings_where_nobody_rated_a_unit_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    preference, groups = example(once=True)
    quick = alpha_interval(groups.prompt, preference, groups.evaluator)
    counts = count_ratings(groups.prompt, preference)
    value = np.searchsorted(counts.values, preference)
    cell = groups.evaluator * len(counts.counts) + groups.prompt
    changes = changes_by_person(counts, coincidence_matrices(counts.counts), cell, value, groups.evaluators)
    given = np.zeros((groups.evaluators, *counts.counts.shape))
    np.add.at(given, (groups.evaluator, groups.prompt, value), 1)
    left = [
        (coincidence_matrices(counts.counts) - coincidence_matrices(counts.counts - each)).sum(axis=0) for each in given
    ]
    assert changes == pytest.approx(np.array(left))
    # one rating given twice by one person hardly moves the interval, which is then found the long way
    twice = np.append(np.arange(300), 0)
    slow = alpha_interval(groups.prompt[twice], preference[twice], groups.evaluator[twice])
    assert (quick.low, quick.high) == pytest.approx((slow.low, slow.high), abs=0.02)


@settings(max_examples=20)
@given(rated())
def test_a_tally_knows_how_many_took_part_and_gives_no_interval_to_one_alone(
    data: tuple[np.ndarray, Clusters],
) -> None:
    preference, groups = data
    counted = tally(preference + 2, 5, groups.evaluator, groups.prompt)
    assert (counted.evaluators, counted.prompts) == (groups.evaluators, groups.prompts)
    assert counted.reason == groups.reason
    alone = tally(preference + 2, 5, np.zeros(len(preference)), groups.prompt)
    assert alone.reason.startswith("all ratings are of one evaluator")


def test_labels_that_do_not_match_or_are_no_numbers_from_0_are_named() -> None:
    with pytest.raises(ClusterError, match=r"three lists of one length"):
        tally([1, 2], 5, [0], [0, 1])
    with pytest.raises(ClusterError, match="category is numbered 1 … 5"):
        tally([1, 5], 5, [0, 0], [0, 1])
