"""Simulated choices follow the latent model that their docstring states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evenhand.analysis.simulate import SimulatedEvaluator, answer_check, choose

QUIET = SimulatedEvaluator(noise=0.0, lapse_rate=0.0)
qualities = st.floats(0, 1)


def frequencies(left: float, right: float, person: SimulatedEvaluator, draws: int = 20_000) -> np.ndarray:
    rng = np.random.default_rng(8)
    return np.bincount([choose(left, right, person, rng) + 2 for _ in range(draws)], minlength=5) / draws


def test_frequencies_are_those_of_the_normal_latent_variable() -> None:
    """P(choice > c) = Φ((sensitivity·Δ − threshold)/noise); 20,000 draws have a standard error below 0.0036."""
    person = SimulatedEvaluator(sensitivity=3.0, noise=0.8, side_bias=0.1, lapse_rate=0.0, slight=0.4, much=1.2)
    edges = [-np.inf, -1.2, -0.4, 0.4, 1.2, np.inf]
    expected = np.diff(stats.norm.cdf(edges, loc=3.0 * 0.2 + 0.1, scale=0.8))
    assert frequencies(0.4, 0.6, person) == pytest.approx(expected, abs=0.012)


def test_lapses_are_uniform_over_the_options() -> None:
    person = SimulatedEvaluator(lapse_rate=1.0)
    assert frequencies(0.0, 1.0, person) == pytest.approx(np.full(5, 0.2), abs=0.012)


@pytest.mark.parametrize("expected", [-1, 1])
def test_a_check_is_answered_by_its_right_side_but_for_lapses(expected: int) -> None:
    """P(right) = 1 − lapse·(1 − 1/5): one answer in five of a lapse is the right one all the same."""
    person = SimulatedEvaluator(side_bias=9.0, noise=5.0, lapse_rate=0.25)
    rng = np.random.default_rng(8)
    answers = [answer_check(expected, person, rng) for _ in range(20_000)]
    assert np.mean(np.equal(answers, 2 * expected)) == pytest.approx(0.8, abs=0.012)


@given(left=qualities, right=qualities, seed=st.integers(0, 2**32))
def test_without_noise_the_better_picture_wins_on_either_side(left: float, right: float, seed: int) -> None:
    here = choose(left, right, QUIET, np.random.default_rng(seed))
    assert here == -choose(right, left, QUIET, np.random.default_rng(seed))
    assert here * (right - left) >= 0
    assert abs(here) == (abs(right - left) * 4 > 0.4) + (abs(right - left) * 4 > 1.5)


def test_the_same_seed_makes_the_same_choices() -> None:
    one, two = (np.random.default_rng(9) for _ in range(2))
    person = SimulatedEvaluator()
    assert [choose(0.5, 0.6, person, one) for _ in range(50)] == [choose(0.5, 0.6, person, two) for _ in range(50)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise": float("nan")}, "noise must be finite"),
        ({"noise": -1.0}, r"noise -1\.0 must not be negative"),
        ({"lapse_rate": 1.5}, r"lapse_rate 1\.5 lies in 0 … 1"),
        ({"slight": 2.0}, r"thresholds must ascend from 0: slight 2\.0"),
    ],
)
def test_settings_that_make_no_sense_are_named(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulatedEvaluator(**values)
