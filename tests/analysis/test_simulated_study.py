"""Simulated studies: who rates what, and shares and correlations against their normal integrals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evenhand.analysis.simulated_study import (
    PAPER_SHARES,
    SCORES,
    Design,
    LatentModel,
    SimulationError,
    matched_model,
    simulate_study,
)
from evenhand.analysis.variance import variance_components

PAPER = Design(evaluators=17, trials=15, prompts=150)


@settings(max_examples=40, deadline=None)
@given(evaluators=st.integers(1, 12), prompts=st.integers(1, 30), data=st.data(), seed=st.integers(0, 2**32))
def test_every_evaluator_rates_different_prompts_and_every_prompt_is_rated_equally_often(
    evaluators: int, prompts: int, data: st.DataObject, seed: int
) -> None:
    trials = data.draw(st.integers(1, prompts))
    design = Design(evaluators, trials, prompts)
    study = simulate_study(design, LatentModel((-1, -0.5, 0.5, 1)), np.random.default_rng(seed))
    assert (np.bincount(study.evaluator, minlength=evaluators) == trials).all()
    assert len(np.unique(study.evaluator * prompts + study.prompt)) == design.ratings
    often = np.bincount(study.prompt, minlength=prompts)
    assert np.ptp(often) <= 1
    assert (often.astype(float) ** 2).sum() / design.ratings == pytest.approx(design.ratings_per_prompt)
    assert design.ratings_per_evaluator == trials
    assert design.degrees_of_freedom == min(evaluators, (often > 0).sum()) - 1


def test_lost_trials_leave_the_clusters_that_are_expected() -> None:
    design, rng, found = Design(17, 15, 150, filled=0.5), np.random.default_rng(0), []
    for _ in range(300):
        study = simulate_study(design, LatentModel((-1, -0.5, 0.5, 1)), rng)
        assert len(study.preference) == design.ratings == 128
        found.append([(np.bincount(each) ** 2.0).sum() / 128 for each in (study.evaluator, study.prompt)])
    expected = (design.ratings_per_evaluator, design.ratings_per_prompt)
    assert np.mean(found, axis=0) == pytest.approx(expected, rel=0.02)


def test_one_seed_gives_one_study() -> None:
    model = matched_model(PAPER_SHARES, 0.1, 0.2)
    one, other = (simulate_study(PAPER, model, np.random.default_rng(7)) for _ in range(2))
    assert (one.preference == other.preference).all()
    assert (one.prompt == other.prompt).all()


@settings(max_examples=30, deadline=None)
@given(
    weights=st.lists(st.integers(1, 20), min_size=5, max_size=5),
    rho_e=st.floats(0, 0.3),
    rho_p=st.floats(0, 0.3),
    score=st.sampled_from(["net", "mean"]),
)
def test_a_matched_model_has_the_shares_and_correlations_that_it_should(
    weights: list[int], rho_e: float, rho_p: float, score: str
) -> None:
    shares = np.array(weights) / sum(weights)
    model = matched_model(shares, rho_e, rho_p, score=score)
    assert model.shares == pytest.approx(shares, abs=1e-12)
    assert model.correlations(score) == pytest.approx((rho_e, rho_p), abs=1e-8)
    assert model.expected(score) == pytest.approx(shares @ SCORES[score])
    assert model.variance(score) == pytest.approx(shares @ SCORES[score] ** 2 - (shares @ SCORES[score]) ** 2)


def test_a_correlation_is_that_of_two_opinions_of_a_bivariate_normal() -> None:
    """Two categories: Cov = Φ₂(0, 0; r) − 1/4 = arcsin(r) / 2π, so ρ = 2 arcsin(r) / π (Sheppard 1899)."""
    model = LatentModel((-9, 0, 0, 9), evaluator_variance=0.5, prompt_variance=0.3)
    assert model.correlations() == pytest.approx((2 * np.arcsin(0.5) / np.pi, 2 * np.arcsin(0.3) / np.pi), abs=1e-6)
    model = LatentModel((-1.2, -0.4, 0.3, 1.0), lead=0.2, evaluator_variance=0.4)
    edges = [-9.0, -1.4, -0.6, 0.1, 0.8, 9.0]
    pair = stats.multivariate_normal(cov=[[1, 0.4], [0.4, 1]])
    below = np.array([[pair.cdf([a, b]) for b in edges] for a in edges])
    joint = np.diff(np.diff(below, axis=0), axis=1)
    covariance = SCORES["mean"] @ joint @ SCORES["mean"] - model.expected("mean") ** 2
    assert model.correlations("mean")[0] == pytest.approx(covariance / model.variance("mean"), abs=1e-4)


def test_simulated_ratings_have_the_expected_shares_and_correlations() -> None:
    model, rng = matched_model(PAPER_SHARES, 0.1, 0.2), np.random.default_rng(3)
    studies = [simulate_study(Design(100, 40, 400), model, rng) for _ in range(30)]
    shares = np.mean([np.bincount(each.preference + 2, minlength=5) / 4000 for each in studies], axis=0)
    assert shares == pytest.approx(PAPER_SHARES, abs=0.01)
    found = [variance_components(np.sign(each.preference), each.groups) for each in studies]
    assert np.mean([each.evaluator_correlation for each in found]) == pytest.approx(0.1, abs=0.01)
    assert np.mean([each.prompt_correlation for each in found]) == pytest.approx(0.2, abs=0.015)


@settings(max_examples=25, deadline=None)
@given(value=st.floats(-0.95, 0.95))
def test_a_moved_model_expects_what_it_was_moved_to(value: float) -> None:
    model = matched_model(PAPER_SHARES, 0.1, 0.2)
    moved = model.moved_to(value)
    assert moved.expected() == pytest.approx(value, abs=1e-9)
    assert moved.thresholds == model.thresholds
    assert model.moved_to(2 * value, "mean").expected("mean") == pytest.approx(2 * value, abs=1e-9)


def test_categories_that_nobody_uses_stay_unused() -> None:
    model = matched_model([0.0, 0.5, 0.0, 0.5, 0.0], 0.1, 0.1)
    study = simulate_study(PAPER, model, np.random.default_rng(0))
    assert set(study.preference.tolist()) == {-1, 1}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Design(0, 1, 1), "needs evaluators"),
        (lambda: Design(2, 5, 4), "5 trials of 4 prompts"),
        (lambda: Design(2, 2, 4, filled=0.0), "share that is filled"),
        (lambda: Design(2, 2, 4, filled=0.1), "leaves a rating"),
        (lambda: LatentModel((0, -1, 1, 2)), "must ascend"),
        (lambda: LatentModel((-1, 0, 1, 2), evaluator_variance=0.7, prompt_variance=0.7), "and so does their sum"),
        (lambda: LatentModel((-1, 0, 1, 2)).moved_to(1.0), "between −1 and 1, not 1"),
        (lambda: LatentModel((0.0, 0.5, 1.0, np.inf)).moved_to(1.5, "mean"), "no lead gives"),
        (lambda: matched_model([0.5, 0.5], 0, 0), "five shares"),
        (lambda: matched_model([0.5, 0.5, 0.5, 0, 0], 0, 0), "sum to 1"),
        (lambda: matched_model([0, 0, 1, 0, 0], 0, 0), "all ratings are equal"),
        (lambda: matched_model([0, 0, 0, 0.5, 0.5], 0, 0), "all ratings are equal"),
        (lambda: matched_model(PAPER_SHARES, -0.1, 0), "by evaluators lies in 0 … 1"),
        (lambda: matched_model(PAPER_SHARES, 0.1, 1.0), "by prompts lies in 0 … 1"),
        (lambda: matched_model(PAPER_SHARES, 0.6, 0.6), "lower a correlation"),
        (lambda: matched_model(PAPER_SHARES, 0.99, 0.0), "more than these shares allow"),
    ],
)
def test_what_cannot_be_simulated_is_named(build: Callable[[], object], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        build()
