"""Random effects of evaluators and prompts against R's clmm, numerical slopes and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

from evenhand.analysis.clustered import clusters
from evenhand.analysis.crossed import fit_crossed_link
from evenhand.analysis.laplace import CrossedIntegral
from evenhand.analysis.link import threshold_basis
from evenhand.analysis.ordinal import OrdinalError, fit_cumulative_link
from evenhand.analysis.simulated_study import Design, LatentModel, SimulatedStudy, simulate_study
from tests.helpers.wine import BOTTLE, CONTACT, JUDGE, RATING, WARM

WINE = clusters(JUDGE, BOTTLE)
BOTH = np.column_stack([WARM, CONTACT])


def test_wine_without_covariates_has_the_numbers_of_r_s_clmm() -> None:
    """ordinal 2022.11-16: clmm(rating ~ 1 + (1 | judge) + (1 | bottle), data = wine)."""
    fit = fit_crossed_link(RATING - 1, None, WINE)
    assert fit.thresholds == pytest.approx([-3.875682, -0.866594, 1.668837, 3.450529], abs=2e-4)
    assert (fit.evaluator_deviation, fit.prompt_deviation) == pytest.approx((1.1000608, 1.6581950), abs=5e-5)
    assert fit.log_likelihood == pytest.approx(-92.11181496, abs=1e-7)
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx([0.9509876, 0.7627928, 0.7914951, 0.8980651], abs=2e-4)


def test_one_covariate_beside_crossed_effects_has_r_s_numbers() -> None:
    """clmm(rating ~ temp + (1 | judge) + (1 | bottle), data = wine)."""
    fit = fit_crossed_link(RATING - 1, BOTH[:, :1], WINE, names=["temp"])
    assert fit.thresholds == pytest.approx([-2.3914810, 0.5917374, 3.1338238, 4.9125717], abs=1e-4)
    assert (fit.evaluator_deviation, fit.prompt_deviation) == pytest.approx((1.0716227, 0.7208853), abs=5e-5)
    temp = fit.coefficient("temp")
    assert (temp.estimate, temp.standard_error) == pytest.approx((2.9280728, 0.7836804), abs=1e-4)
    assert temp.degrees_of_freedom == 7
    assert (temp.high - temp.low) / 2 == pytest.approx(2.36462 * 0.7836804, rel=1e-3)
    assert fit.log_likelihood == pytest.approx(-87.39796381, abs=1e-7)


@pytest.mark.parametrize(
    ("link", "coefficients", "deviation", "log_likelihood"),
    [
        ("logit", [3.0629966, 1.8348849], 1.131133, -81.56540929),
        ("probit", [1.8000144, 1.0482055], 0.6631532, -80.93),
    ],
)
def test_effects_that_vanish_are_0_and_said(
    link: str, coefficients: list[float], deviation: float, log_likelihood: float
) -> None:
    """With both covariates clmm finds σ = 0.000004 of bottles, and what it finds with judges alone."""
    fit = fit_crossed_link(RATING - 1, BOTH, WINE, link=link)
    assert fit.coefficients == pytest.approx(coefficients, abs=1e-4)
    assert fit.evaluator_deviation == pytest.approx(deviation, abs=2e-5)
    assert fit.prompt_deviation == 0
    assert fit.notes == ("prompts do not seem to vary, so their effects are 0",)
    assert fit.log_likelihood == pytest.approx(log_likelihood, abs=5e-3)
    if link == "logit":
        assert np.sqrt(np.diag(fit.covariance))[4:] == pytest.approx([0.5953762, 0.5125293], abs=1e-4)


@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("groups", [WINE, clusters(BOTTLE, JUDGE)], ids=["more evaluators", "more prompts"])
def test_slopes_are_those_of_the_value(link: str, symmetric: bool, groups: object) -> None:
    integral = CrossedIntegral(RATING - 1, BOTH, groups, threshold_basis(4, symmetric), link)  # type: ignore[arg-type]
    thresholds = [0.9, 2.3] if symmetric else [-1.2, 0.7, 2.1, 3.4]
    at = np.array([*thresholds, 0.8, 0.4, 1.1, 0.5])
    slopes = integral.value_and_slopes(at)[1]
    for i in range(len(at)):
        move = np.eye(len(at))[i] * 1e-5
        numerical = (integral.value_and_slopes(at + move)[0] - integral.value_and_slopes(at - move)[0]) / 2e-5
        assert slopes[i] == pytest.approx(numerical, abs=1e-5)


def test_the_integral_of_one_evaluator_s_effect_is_near_that_of_quadrature() -> None:
    """σ_P = 0 leaves an integral over each judge's effect alone, which Gauss and Hermite's rule gives exactly."""
    integral = CrossedIntegral(RATING - 1, BOTH, WINE, np.eye(4), "logit")
    at = np.array([-1.6, 1.5, 4.2, 6.1, 3.1, 1.8, 1.1, 0.0])
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    edges = np.concatenate([[-np.inf], at[:4], [np.inf]])
    level = (BOTH @ at[4:6])[:, None] + 1.1 * nodes
    below = 1 / (1 + np.exp(-(edges[RATING - 1][:, None] - level)))
    chances = 1 / (1 + np.exp(-(edges[RATING][:, None] - level))) - below
    exact = sum(np.log(weights / weights.sum() @ chances[judge == JUDGE].prod(axis=0)) for judge in range(9))
    assert integral.value_and_slopes(at)[0] == pytest.approx(exact, abs=0.1)


def study(seed: int, design: Design, lead: float = 0.3) -> SimulatedStudy:
    model = LatentModel((-1.3, -0.4, 0.4, 1.3), lead, evaluator_variance=0.15, prompt_variance=0.3)
    return simulate_study(design, model, np.random.default_rng(seed))


def test_simulated_studies_give_back_their_lead_and_their_deviations() -> None:
    """Ten studies of 2 000 ratings; latent units are those of the residual, √0.55."""
    found = []
    for seed in range(10):
        ratings = study(seed, Design(40, 50, 200))
        fit = fit_crossed_link(
            ratings.preference + 2, np.ones((2000, 1)), ratings.groups, symmetric=True, count=5, link="probit"
        )
        found.append((fit.coefficients[0], fit.evaluator_deviation, fit.prompt_deviation, fit.thresholds[3]))
    expected = np.array([0.3, np.sqrt(0.15), np.sqrt(0.3), 1.3]) / np.sqrt(0.55)
    assert np.mean(found, axis=0) == pytest.approx(expected, abs=0.09)


def test_swapping_the_arms_and_the_roles_changes_what_it_should() -> None:
    ratings = study(3, Design(12, 15, 40))
    ones = np.ones((180, 1))
    here = fit_crossed_link(ratings.preference + 2, ones, ratings.groups, symmetric=True, count=5)
    swapped = fit_crossed_link(2 - ratings.preference, ones, ratings.groups, symmetric=True, count=5)
    assert swapped.coefficients == pytest.approx(-here.coefficients, abs=1e-4)
    assert swapped.log_likelihood == pytest.approx(here.log_likelihood, abs=1e-7)
    turned = fit_crossed_link(
        ratings.preference + 2, ones, clusters(ratings.prompt, ratings.evaluator), symmetric=True, count=5
    )
    assert turned.evaluator_deviation == pytest.approx(here.prompt_deviation, abs=1e-4)
    assert turned.coefficients == pytest.approx(here.coefficients, abs=1e-4)
    fixed = fit_cumulative_link(ratings.preference + 2, ones, symmetric=True, count=5)
    assert here.log_likelihood > fixed.log_likelihood
    assert abs(here.coefficients[0]) > abs(fixed.coefficients[0])  # of one person, not of the population


@pytest.mark.parametrize(
    ("people", "prompts", "message"),
    [
        (np.zeros(72), BOTTLE, "all ratings are of one evaluator"),
        (JUDGE, np.zeros(72), "all ratings are of one prompt"),
    ],
)
def test_one_cluster_of_a_kind_is_an_error(people: object, prompts: object, message: str) -> None:
    with pytest.raises(OrdinalError, match=message):
        fit_crossed_link(RATING - 1, BOTH, clusters(people, prompts))  # type: ignore[arg-type]


def test_people_who_always_answer_alike_have_no_finite_effects() -> None:
    people, prompts = np.repeat(np.arange(12), 30), np.tile(np.arange(30), 12)
    chosen = np.where(people < 6, 0, 1)
    with pytest.raises(OrdinalError, match=r"random effects|no finite size"):
        fit_crossed_link(chosen, np.ones((360, 1)), clusters(people, prompts), symmetric=True, count=2)


def test_too_much_data_and_wrong_names_are_said() -> None:
    many = np.arange(60_000)
    with pytest.raises(OrdinalError, match="60000 ratings by 100 evaluators of 600 prompts are too many"):
        fit_crossed_link(many % 5, None, clusters(many % 100, many % 600))
    fit = fit_crossed_link(RATING - 1, BOTH, WINE, names=["temp", "contact"])
    with pytest.raises(OrdinalError, match="'colour' is none of the coefficients"):
        fit.coefficient("colour")
    with pytest.raises(OrdinalError, match="separated"):
        fit_crossed_link([0, 0, 1, 1], [[0], [1], [2], [3]], clusters([1, 2, 1, 2], [1, 1, 2, 2]))
