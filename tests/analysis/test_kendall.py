"""τ-b is scipy's, and its error is the jackknife over clusters that are really left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evenhand.analysis.clustered import ClusterError, clusters
from evenhand.analysis.kendall import kendall_tau_b

RNG = np.random.default_rng


def tau(x: np.ndarray, y: np.ndarray) -> float:
    return float(stats.kendalltau(x, y).statistic)


def left_out_one_by_one(x: np.ndarray, y: np.ndarray, label: np.ndarray) -> float:
    """Jackknife variance by computing scipy's τ-b anew."""
    found = np.array([tau(x[label != each], y[label != each]) for each in np.unique(label)])
    return float((len(found) - 1) / len(found) * ((found - found.mean()) ** 2).sum())


def drawn(seed: int, n: int, prompts: int, people: int) -> tuple[np.ndarray, ...]:
    rng = RNG(seed)
    x = np.round(rng.normal(size=n), 1)
    y = np.clip(np.round(x + rng.normal(size=n)), -2, 2)
    return x, y, rng.integers(prompts, size=n), rng.integers(people, size=n)


def test_a_known_table() -> None:
    """Of ten pairs of rows eight are in order, one is not and one is tied in y: 7 / √(10 · 9)."""
    x, y = [1.0, 2, 3, 4, 5], [-1.0, -2, 0, 1, 1]
    found = kendall_tau_b(x, y, clusters(range(5), range(5)))
    assert found.estimate == pytest.approx(7 / math.sqrt(90), rel=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(30, 90), st.integers(4, 20))
def test_prompts_are_left_out_one_by_one(seed: int, n: int, prompts: int) -> None:
    x, y, prompt, _ = drawn(seed, n, prompts, 1)
    found = kendall_tau_b(x, y, clusters(range(n), prompt))
    assert found.estimate == pytest.approx(tau(x, y), abs=1e-12)
    by_prompt, by_row = left_out_one_by_one(x, y, prompt), left_out_one_by_one(x, y, np.arange(n))
    assert found.standard_error**2 == pytest.approx(max(by_prompt, by_row), rel=1e-8)
    assert found.degrees_of_freedom == len(np.unique(prompt)) - 1


@pytest.mark.parametrize("seed", range(6))
def test_evaluators_are_left_out_too(seed: int) -> None:
    x, y, prompt, person = drawn(seed, 120, 20, 8)
    y = np.clip(y + np.round(0.7 * RNG(seed).normal(size=8))[person], -2, 2)
    one, other = left_out_one_by_one(x, y, prompt), left_out_one_by_one(x, y, person)
    both = left_out_one_by_one(x, y, prompt * 8 + person)
    found = kendall_tau_b(x, y, clusters(person, prompt))
    assert found.standard_error**2 == pytest.approx(max(one + other - both, one, other), rel=1e-8)
    assert found.degrees_of_freedom == 7


def test_the_interval_is_even_on_fishers_scale_and_agrees_with_the_test() -> None:
    x, y, prompt, _ = drawn(3, 80, 30, 1)
    for level in (0.5, 0.95):
        found = kendall_tau_b(x, y, clusters(range(80), prompt), level=level)
        assert math.atanh(found.high) + math.atanh(found.low) == pytest.approx(2 * math.atanh(found.estimate))
        assert (found.p < 1 - level) == (found.low > 0)
    edge = kendall_tau_b(x, y, clusters(range(80), prompt), level=1 - found.p)
    assert edge.low == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("x", "y", "prompt", "reason"),
    [
        ([], [], [], "there are none"),
        ([1], [1], [0], "there is 1"),
        ([1, 1, 1], [1, 2, 0], [0, 1, 2], "first column are equal"),
        ([1, 2, 0], [1, 1, 1], [0, 1, 2], "second column are equal"),
        ([1, 2, 3], [2, 1, 2], [0, 0, 0], "one prompt"),
        ([1, 2, 3], [-1, 0, 1], [0, 1, 2], "all rows alike"),
        ([1, 2, 3], [1, 0, -1], [0, 1, 2], "all rows alike"),
        ([1, 1, 1, 2], [2, 1, 0, 1], [0, 1, 2, 3], "without one cluster"),
    ],
)
def test_without_an_interval_there_is_a_reason(x: list, y: list, prompt: list, reason: str) -> None:
    found = kendall_tau_b(x, y, clusters(range(len(x)), prompt))
    assert reason in found.reason
    assert math.isnan(found.low)


def test_labels_of_other_rows_are_refused() -> None:
    with pytest.raises(ClusterError, match="columns"):
        kendall_tau_b([1, 2], [1, 2, 3], clusters(range(2), range(2)))
