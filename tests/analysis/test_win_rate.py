"""Wins, ties and losses are counted as PickScore's protocol says, and their intervals hold."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.analysis.clustered import Estimate, clusters, mean_estimate, share_estimate
from evenhand.analysis.win_rate import WinRate, WinRateError, win_rate

RNG = np.random.default_rng
SCORES = st.sampled_from([0.0, 0.25, 0.5, 21.5, math.nan, math.inf])


def estimates(found: WinRate) -> tuple[Estimate, ...]:
    return found.win, found.tie, found.lose, found.rate


def test_exact_ties_count_one_half() -> None:
    candidate = np.array([21.1, 20.0, 19.5, 22.0, 20.5], np.float32)
    baseline = np.array([21.0, 20.0, 19.6, 21.0, 20.0], np.float32)
    found = win_rate(candidate, baseline, range(5))
    assert [each.estimate for each in estimates(found)] == [0.6, 0.2, 0.2, 0.7]
    nearly = np.nextafter(np.float32(20.0), np.float32(21))
    assert win_rate(np.array([nearly, 1.0]), np.array([20.0, 2.0]), [0, 1]).win.estimate == 0.5


def test_differences_within_the_threshold_are_ties() -> None:
    found = win_rate([1.0, 1.0, 1.0, 1.0], [0.5, 0.75, 1.25, 1.5], range(4), tie=0.25)
    assert [each.estimate for each in estimates(found)] == [0.25, 0.5, 0.25, 0.5]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(SCORES, SCORES, st.integers(0, 3)), max_size=14), st.sampled_from([0.0, 0.25]))
def test_every_pair_is_counted_once(rows: list, tie: float) -> None:
    candidate, baseline, prompt = np.array(rows, dtype=float).reshape(-1, 3).T
    found = win_rate(candidate, baseline, prompt, tie=tie)
    known = [(a, b) for a, b, _ in rows if math.isfinite(a) and math.isfinite(b)]
    assert found.left_out == tuple(i for i, (a, b, _) in enumerate(rows) if not math.isfinite(a + b))
    assert found.pairs == len(known)
    for estimate in estimates(found):
        if estimate.reason:
            assert math.isnan(estimate.low)
            continue
        assert 0 <= estimate.low <= estimate.estimate <= estimate.high <= 1
        assert estimate.high - estimate.low > 0.01
    if known:
        won, lost = sum(a - b > tie for a, b in known), sum(b - a > tie for a, b in known)
        assert found.rate.estimate == pytest.approx(float(Fraction(len(known) + won - lost, 2 * len(known))))
        assert found.win.estimate + found.tie.estimate + found.lose.estimate == pytest.approx(1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_the_other_arms_rate_is_the_rest(seed: int) -> None:
    rng = RNG(seed)
    one, other = np.round(rng.normal(0.3, 1, size=(2, 40)), 1)
    forth, back = win_rate(one, other, np.arange(40) // 2), win_rate(other, one, np.arange(40) // 2)
    assert back.rate.low == pytest.approx(1 - forth.rate.high)
    assert back.rate.p == pytest.approx(forth.rate.p)
    assert back.win == forth.lose


def test_shares_and_a_rate_without_ties_are_shares_of_pairs() -> None:
    rng = RNG(0)
    one, other = rng.normal(0.5, 1, size=60), rng.normal(size=60)
    prompt = np.arange(60) // 3
    found, groups = win_rate(one, other, prompt, level=0.9), clusters(range(60), prompt)
    assert found.win == share_estimate(one > other, groups, level=0.9)
    assert found.rate.low == pytest.approx(found.win.low)
    assert found.rate.high == pytest.approx(found.win.high)


def test_ties_make_the_rate_surer() -> None:
    """Of 400 pairs a tenth is decided: the rate's error is that of its mean, not that of a share of one half."""
    rng = RNG(1)
    difference = rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.9, 0.05], size=400)
    found = win_rate(difference, np.zeros(400), range(400)).rate
    expected = mean_estimate((np.sign(difference) + 1) / 2, clusters(range(400), range(400)))
    assert found.standard_error == pytest.approx(expected.standard_error, rel=0.01)
    assert found.low == pytest.approx(expected.low, abs=0.002)


def test_pairs_of_one_prompt_are_not_independent() -> None:
    """Four pairs a prompt that all end alike are worth one."""
    rng = RNG(2)
    difference = np.repeat(rng.choice([-1.0, 1.0], size=50), 4)
    found = win_rate(difference, np.zeros(200), np.repeat(np.arange(50), 4))
    once = win_rate(difference[::4], np.zeros(50), range(50))
    assert found.rate.low == pytest.approx(once.rate.low, abs=1e-3)


@pytest.mark.parametrize(
    ("candidate", "baseline", "prompts", "reason"),
    [
        ([], [], [], "no pairs with two finite scores"),
        ([math.nan, 1], [1, math.inf], [1, 2], "no pairs with two finite scores"),
        ([1, 2, 3], [2, 1, 4], [7, 7, 7], "one prompt"),
    ],
)
def test_without_an_interval_there_is_a_reason(candidate: list, baseline: list, prompts: list, reason: str) -> None:
    found = win_rate(candidate, baseline, prompts)
    assert all(reason in estimate.reason for estimate in estimates(found))


@pytest.mark.parametrize("difference", [1.0, 0.0, -1.0])
def test_pairs_that_all_end_alike_leave_a_width(difference: float) -> None:
    found = win_rate(np.full(20, difference), np.zeros(20), np.arange(20) // 2)
    assert found.rate.estimate == (difference + 1) / 2
    assert found.rate.high - found.rate.low > 0.2
    assert found.tie.high - found.tie.low > 0.2


@pytest.mark.parametrize(
    ("columns", "tie", "message"),
    [
        (([1, 2], [1], [1, 2]), 0.0, r"\(2,\), \(1,\), \(2,\)"),
        (([[1]], [[1]], [[1]]), 0.0, "not lists of one length"),
        (([1], [1], [1]), -0.1, "within -0.1"),
        (([1], [1], [1]), math.nan, "within nan"),
    ],
)
def test_bad_columns_are_named(columns: tuple, tie: float, message: str) -> None:
    with pytest.raises(WinRateError, match=message):
        win_rate(*columns, tie=tie)


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [30, 200])
@pytest.mark.parametrize(("noise", "tied"), [(1.0, 0.0), (0.3, 0.2), (1.0, 1.5)])
def test_the_interval_holds(noise: float, tied: float, prompts: int) -> None:
    """Two pairs a prompt that end alike more often than not; 3,000 studies of the paper's rate of about 60 %."""
    rng, prompt = RNG(4), np.repeat(np.arange(prompts), 2)

    def differences(count: int) -> np.ndarray:
        return 0.3 + rng.normal(size=count)[:, None] + noise * rng.normal(size=(count, 2))

    many = differences(400_000)[:, 0]
    truth = ((many > tied).mean() - (many < -tied).mean() + 1) / 2
    found = [win_rate(differences(prompts).ravel(), np.zeros(2 * prompts), prompt, tie=tied).rate for _ in range(3000)]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert 0.93 <= covered <= 0.98
