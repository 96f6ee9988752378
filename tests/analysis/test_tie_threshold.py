"""The threshold is the best that there is, and what is told of other prompts is what its definition says."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.analysis.clustered import clusters
from evenhand.analysis.tie_threshold import (
    GROUPS,
    THRESHOLDS,
    calibrated_accuracy,
    held_out,
    hits_by_threshold,
    said_by,
    thresholds,
)

RNG = np.random.default_rng


def drawn(seed: int, n: int, prompts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences of which some are 0 and some equal, sides, and prompts that all occur."""
    rng = RNG(seed)
    difference = np.round(rng.normal(size=n), 1)
    side = np.sign(np.round(difference + rng.normal(size=n)))
    return difference, side, np.append(np.arange(prompts), rng.integers(prompts, size=n - prompts))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 60))
def test_hits_are_counted_as_they_are_defined(seed: int, n: int) -> None:
    difference, side, prompt = drawn(seed, n, 2)
    tried = thresholds(difference)
    assert set(tried) == {0.0, *np.abs(difference)}
    expected = [[(said_by(difference, t) == side)[prompt == unit].sum() for unit in (0, 1)] for t in tried]
    assert hits_by_threshold(difference, side, tried, prompt, 2).tolist() == expected


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(6, 60))
def test_no_other_threshold_meets_more_answers(seed: int, n: int) -> None:
    difference, side, prompt = drawn(seed, n, 5)
    found = calibrated_accuracy(difference, side, clusters(range(n), prompt))
    every = {float(t): float((said_by(difference, t) == side).mean()) for t in np.append(0, np.abs(difference))}
    assert found.in_sample == pytest.approx(max(every.values()))
    assert found.threshold == min(t for t, share in every.items() if share == max(every.values()))


def test_of_many_sizes_quantiles_are_tried() -> None:
    difference = RNG(0).normal(size=5000)
    tried = thresholds(difference)
    assert len(tried) == THRESHOLDS + 1
    assert tried[0] == 0
    assert np.isin(tried[1:], np.abs(difference)).all()
    assert tried[-1] == np.abs(difference).max()
    assert tried[101] == pytest.approx(np.median(np.abs(difference)), rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_the_held_out_share_is_that_of_every_draw_there_is(seed: int) -> None:
    """Of four prompts there are 256 draws; each prompt's hits are averaged over those that leave it out."""
    difference, side, prompt = drawn(seed, 12, 4)
    tried = thresholds(difference)
    hits = hits_by_threshold(difference, side, tried, prompt, 4)
    sizes = np.bincount(prompt).astype(float)
    out: list[list[float]] = [[], [], [], []]
    for draw in product(range(4), repeat=4):
        best = hits[:, draw].sum(axis=1).argmax()
        for unit in set(range(4)) - set(draw):
            out[unit].append(hits[best, unit])
    expected = sum(np.mean(each) for each in out) / 12
    assert held_out(hits, sizes, 0)[0] == pytest.approx(expected, abs=0.02)


def test_the_variance_is_that_of_one_threshold_where_no_other_is_ever_better() -> None:
    """The metric never ties and people never do: every draw takes 0, so only prompts vary."""
    rng = RNG(2)
    difference, side = rng.normal(size=80), np.sign(rng.normal(size=80) + 0.3)
    prompt = np.repeat(np.arange(40), 2)
    hits = hits_by_threshold(difference, side, thresholds(difference), prompt, 40)
    share, variance = held_out(hits, np.full(40, 2.0), 0)
    means = hits[0] / 2
    assert share == pytest.approx(means.mean(), abs=1e-12)
    assert variance == pytest.approx(means.var(ddof=1) / 40, rel=0.35)  # the noise of draws


def test_a_metric_that_says_nothing_is_not_praised_for_its_threshold() -> None:
    """Its best threshold meets more answers of its own pairs than of others; the mean of 60 studies tells it."""
    rng, found, fair = RNG(5), [], []
    for _ in range(60):
        side = rng.choice([-1.0, 0.0, 1.0], p=[0.3, 0.4, 0.3], size=40)
        difference = rng.normal(size=40)
        each = calibrated_accuracy(difference, side, clusters(range(40), range(40)))
        found.append((each.optimism, each.held_out.estimate))
        said = said_by(rng.normal(size=100_000), each.threshold)
        fair.append(0.4 * (said == 0).mean() + 0.3 * (said != 0).mean())
    optimism, held = np.mean(found, axis=0)
    assert optimism > 0.04
    assert held == pytest.approx(np.mean(fair), abs=0.03)


@pytest.mark.parametrize("always", [True, False])
def test_a_share_of_none_or_all_has_a_width(always: bool) -> None:
    """Evenly right is a share of 1; a metric on the wrong side of every pair meets none, whatever its threshold."""
    difference = np.linspace(0.1, 1, 20)
    found = calibrated_accuracy(difference, np.full(20, 1.0 if always else -1.0), clusters(range(20), range(20)))
    assert found.held_out.estimate == float(always)
    assert found.held_out.high - found.held_out.low > 0.1
    assert found.threshold == 0


def test_evaluators_who_differ_widen_it() -> None:
    rng = RNG(8)
    person, prompt = np.tile(np.arange(6), 30), np.repeat(np.arange(30), 6)
    difference = np.abs(rng.normal(size=180)) + 0.1
    side = np.where(rng.random(180) < np.linspace(0.1, 0.9, 6)[person], 1.0, -1.0)
    alone = calibrated_accuracy(difference, side, clusters(range(180), prompt)).held_out
    both = calibrated_accuracy(difference, side, clusters(person, prompt)).held_out
    assert both.estimate == alone.estimate
    assert both.degrees_of_freedom == 5
    assert both.high - both.low > 2 * (alone.high - alone.low)


def test_many_prompts_are_drawn_in_groups() -> None:
    rng = RNG(3)
    side = rng.choice([-1.0, 0.0, 1.0], size=4000)
    difference = 0.3 * side + 0.2 * rng.normal(size=4000)
    found = calibrated_accuracy(difference, side, clusters(range(4000), np.arange(4000) // 2))
    assert found.held_out.degrees_of_freedom == GROUPS - 1
    assert found.held_out.estimate == pytest.approx(found.in_sample, abs=0.01)
    # 1.96 √(p (1 − p) / n) to either side, a little more for the threshold's own error
    share = found.held_out.estimate
    reach = 1.96 * np.sqrt(share * (1 - share) / 4000)
    assert 1.8 * reach < found.held_out.high - found.held_out.low < 3.2 * reach


def test_the_same_seed_gives_the_same_numbers() -> None:
    difference, side, prompt = drawn(1, 60, 20)
    groups = clusters(range(60), prompt)
    assert calibrated_accuracy(difference, side, groups) == calibrated_accuracy(difference, side, groups)
    other = calibrated_accuracy(difference, side, groups, seed=1)
    assert other.in_sample == calibrated_accuracy(difference, side, groups).in_sample
    assert other.held_out != calibrated_accuracy(difference, side, groups).held_out
