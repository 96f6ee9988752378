"""Cumulative-link models against R's ordinal and sandwich, another library, and what must not change them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.miscmodels.ordinal_model import OrderedModel

from evenhand.analysis.clustered import clusters, two_way_covariance
from evenhand.analysis.ordinal import OrdinalError, fit_cumulative_link
from tests.helpers.wine import BOTTLE, CONTACT, JUDGE, RATING, WARM

WINE = np.column_stack([WARM, CONTACT])
WITH_ONES = np.column_stack([np.ones(72), WINE])
NAMES = ("temp", "contact")


def test_wine_has_the_numbers_of_r_s_clm() -> None:
    """ordinal::clm(rating ~ temp + contact, data = wine)."""
    fit = fit_cumulative_link(RATING - 1, WINE, names=NAMES)
    assert fit.thresholds == pytest.approx([-1.344383, 1.250809, 3.466887, 5.006404], abs=1e-6)
    assert fit.coefficients == pytest.approx([2.503102, 1.527798], abs=1e-6)
    assert fit.log_likelihood == pytest.approx(-86.49192, abs=1e-5)
    errors = [0.5171020, 0.4378802, 0.5977604, 0.7309063, 0.5286801, 0.4766226]
    assert fit.standard_errors == pytest.approx(errors, abs=1e-6)
    assert fit.notes == ()


def test_the_normal_link_has_r_s_numbers() -> None:
    """ordinal::clm(rating ~ temp + contact, data = wine, link = "probit")."""
    fit = fit_cumulative_link(RATING - 1, WINE, link="probit")
    assert fit.thresholds == pytest.approx([-0.7732627, 0.7360215, 2.0446805, 2.9413450], abs=1e-6)
    assert fit.coefficients == pytest.approx([1.4993746, 0.8677435], abs=1e-6)
    assert fit.log_likelihood == pytest.approx(-85.76114836, abs=1e-7)
    assert fit.standard_errors[-2:] == pytest.approx([0.2917904, 0.2669070], abs=1e-6)


def test_symmetric_thresholds_have_r_s_numbers_without_and_with_an_intercept() -> None:
    """clm(…, threshold = "symmetric2") is symmetric about 0; "symmetric" has two centres, whose mean is −intercept."""
    fit = fit_cumulative_link(RATING - 1, WINE, symmetric=True)
    assert fit.thresholds == pytest.approx([-2.5206066, -0.8028299, 0.8028299, 2.5206066], abs=1e-6)
    assert fit.coefficients == pytest.approx([0.8273157, 0.0063628], abs=1e-6)
    assert fit.log_likelihood == pytest.approx(-101.7651431, abs=1e-6)
    assert fit.standard_errors[2:] == pytest.approx([0.1397432, 0.3001508, 0.3585725, 0.3386887], abs=1e-6)
    fit = fit_cumulative_link(RATING - 1, WITH_ONES, symmetric=True, names=("lead", *NAMES))
    first, second, spacing = 1.097004214, 3.292264487, 2.068604458
    assert fit.coefficients == pytest.approx([-(first + second) / 2, 2.4798628, 1.5089319], abs=1e-6)
    assert fit.thresholds[2:] == pytest.approx([(second - first) / 2, (second - first) / 2 + spacing], abs=1e-6)
    assert fit.log_likelihood == pytest.approx(-87.83665505, abs=1e-7)


def test_clustered_errors_are_those_of_r_s_sandwich() -> None:
    """sandwich 3.0.2, vcovCL(clm, cluster = …, type = "HC0"), which multiplies by G / (G − 1)."""
    by_judge = fit_cumulative_link(RATING - 1, WINE, names=NAMES, groups=clusters(JUDGE, JUDGE))
    expected = [0.6883797, 0.5504875, 0.6297906, 0.7494090, 0.3539015, 0.4343978]
    assert np.sqrt(np.diag(by_judge.robust_covariance)) == pytest.approx(expected, abs=1e-6)
    by_bottle = fit_cumulative_link(RATING - 1, WINE, groups=clusters(BOTTLE, BOTTLE))
    assert np.sqrt(np.diag(by_bottle.robust_covariance))[4:] == pytest.approx([0.2406145, 0.1927499], abs=1e-6)


def test_where_the_two_way_variance_is_negative_the_larger_one_way_error_stands() -> None:
    """vcovCL(clm, cluster = ~ judge + bottle) gives temp −0.0559 and contact −0.0179 on wine."""
    fit = fit_cumulative_link(RATING - 1, WINE, names=NAMES, groups=clusters(JUDGE, BOTTLE))
    temp, contact = fit.coefficient("temp"), fit.coefficient("contact")
    assert (temp.standard_error, contact.standard_error) == pytest.approx((0.3539015, 0.4343978), abs=1e-6)
    assert temp.degrees_of_freedom == 7
    assert (temp.high - temp.low) / 2 == pytest.approx(2.36462 * 0.3539015, rel=1e-4)
    difference = fit.contrast([1, -1])
    assert difference.estimate == pytest.approx(2.503102 - 1.527798, abs=1e-5)
    assert 0 < difference.standard_error < 1


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), link=st.sampled_from(["logit", "probit"]))
def test_statsmodels_finds_the_same_maximum(seed: int, link: str) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(150, 2))
    latent = table @ [0.8, -0.4] + rng.logistic(size=150)
    chosen = np.searchsorted([-1.5, -0.3, 0.6, 1.8], latent)
    fit = fit_cumulative_link(chosen, table, link=link)
    distr = "logit" if link == "logit" else "probit"
    theirs = OrderedModel(chosen, table, distr=distr).fit(method="bfgs", disp=0, maxiter=500, gtol=1e-7)
    assert fit.log_likelihood == pytest.approx(theirs.llf, abs=1e-6)
    assert fit.coefficients == pytest.approx(theirs.params[:2], abs=1e-4)
    assert fit.standard_errors[-2:] == pytest.approx(theirs.bse[:2], rel=1e-2)


def study(seed: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Preferences as categories, a table of ones and a covariate, evaluators and prompts."""
    rng = np.random.default_rng(seed)
    people, prompts = np.repeat(np.arange(10), 12), rng.integers(0, 25, 120)
    covariate = rng.normal(size=120)
    latent = 0.3 + 0.5 * covariate + rng.normal(size=10)[people] / 2 + rng.logistic(size=120)
    return (
        np.searchsorted([-1.8, -0.5, 0.5, 1.8], latent),
        np.column_stack([np.ones(120), covariate]),
        people,
        prompts,
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_swapping_the_arms_negates_what_symmetric_thresholds_find(seed: int) -> None:
    chosen, table, people, prompts = study(seed)
    here, there = (
        fit_cumulative_link(each, table, symmetric=True, count=5, groups=clusters(people, prompts))
        for each in (chosen, 4 - chosen)
    )
    assert there.coefficients == pytest.approx(-here.coefficients, abs=1e-7)
    assert there.thresholds == pytest.approx(here.thresholds, abs=1e-7)
    assert there.robust_covariance[4:, 4:] == pytest.approx(here.robust_covariance[4:, 4:], abs=1e-9)
    assert there.contrast([1, 0]).p == pytest.approx(here.contrast([1, 0]).p)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_order_of_ratings_and_the_names_of_people_change_nothing(seed: int) -> None:
    chosen, table, people, prompts = study(seed)
    order = np.random.default_rng(seed).permutation(120)
    here = fit_cumulative_link(chosen, table, symmetric=True, groups=clusters(people, prompts))
    there = fit_cumulative_link(
        chosen[order],
        table[order],
        symmetric=True,
        groups=clusters(-people[order], [f"p{each}" for each in prompts[order]]),
    )
    assert there.coefficients == pytest.approx(here.coefficients, abs=1e-8)
    assert there.robust_covariance == pytest.approx(here.robust_covariance, abs=1e-10)


def test_data_that_are_given_twice_halve_the_variance_of_independent_ratings_and_keep_the_clustered_one() -> None:
    chosen, table, people, prompts = study(1)
    once = fit_cumulative_link(chosen, table, symmetric=True, groups=clusters(people, prompts))
    twice = fit_cumulative_link(
        np.tile(chosen, 2),
        np.tile(table, (2, 1)),
        symmetric=True,
        groups=clusters(np.tile(people, 2), np.tile(prompts, 2)),
    )
    assert twice.coefficients == pytest.approx(once.coefficients, abs=1e-8)
    assert twice.covariance == pytest.approx(once.covariance / 2, rel=1e-6)
    assert twice.robust_covariance == pytest.approx(once.robust_covariance, rel=1e-6)


def test_what_ratings_add_is_their_score_times_the_inverse_information() -> None:
    """The scores sum to 0 at the maximum; one cluster a rating gives White's sandwich, G / (G − 1) times."""
    chosen, table, _, _ = study(2)
    each = np.arange(120)
    fit = fit_cumulative_link(chosen, table, symmetric=True, groups=clusters(each, each))
    assert fit.influence is not None
    assert fit.influence.sum(axis=0) == pytest.approx(np.zeros(6), abs=1e-8)
    step = 1e-5
    without = fit_cumulative_link(chosen[1:], table[1:], symmetric=True)  # leaving one out moves it by what it added
    assert fit.coefficients - without.coefficients == pytest.approx(fit.influence[0, 4:], rel=0.1, abs=step)
    assert fit.robust_covariance == pytest.approx(fit.influence.T @ fit.influence * 120 / 119, rel=1e-9)
    assert two_way_covariance(fit.influence, clusters(each, each)) == pytest.approx(fit.robust_covariance)


def test_a_saturated_model_gives_back_the_shares() -> None:
    chosen = np.repeat([0, 1, 2, 3, 4], [2, 17, 21, 42, 18])
    fit = fit_cumulative_link(chosen)
    assert fit.probabilities(np.empty((1, 0)))[0] == pytest.approx([0.02, 0.17, 0.21, 0.42, 0.18], abs=1e-9)
    assert fit.thresholds == pytest.approx([math.log(c / (1 - c)) for c in (0.02, 0.19, 0.40, 0.82)])
    # the delta method on a binomial: Var(logit p) = 1 / (n p (1 − p))
    assert fit.standard_errors[1] == pytest.approx(1 / math.sqrt(100 * 0.19 * 0.81))


def test_errors_cover_the_truth_of_simulated_ratings() -> None:
    """Standardised errors of the lead over 200 studies of 200 ratings have mean square 1."""
    rng, squares, ones = np.random.default_rng(8), [], np.ones((200, 1))
    for _ in range(200):
        chosen = np.searchsorted([-1.8, -0.5, 0.5, 1.8], 0.4 + rng.logistic(size=200))
        fit = fit_cumulative_link(chosen, ones, symmetric=True, count=5)
        squares.append((fit.coefficients[0] - 0.4) ** 2 / fit.covariance[-1, -1])
    assert np.mean(squares) == pytest.approx(1, abs=0.35)  # the mean of 200 χ²₁ values has a standard deviation of 0.1


@pytest.mark.parametrize(
    ("counts", "kept", "thresholds"),
    [
        ([5, 12, 9, 10, 0], (0, 1, 2, 3, 4), 4),  # one side of a strength is enough
        ([0, 12, 9, 10, 0], (1, 2, 3), 2),
        ([5, 0, 9, 0, 7], (0, 2, 4), 2),
        ([5, 12, 0, 10, 6], (0, 1, 3, 4), 3),
        ([0, 12, 0, 10, 0], (1, 3), 1),
    ],
)
def test_symmetric_thresholds_of_unused_strengths_fall_together(
    counts: list[int], kept: tuple[int, ...], thresholds: int
) -> None:
    chosen = np.repeat(np.arange(5), counts)
    fit = fit_cumulative_link(chosen, np.ones((len(chosen), 1)), symmetric=True, count=5)
    assert fit.categories == kept
    assert fit.thresholds == pytest.approx(-fit.thresholds[::-1])
    assert len(fit.thresholds) == thresholds
    assert bool(fit.notes) == (len(kept) < 5)
    assert np.isfinite(fit.standard_errors).all()
    if kept == (1, 3):  # a logistic regression on the sign
        assert fit.coefficients[0] == pytest.approx(math.log(10 / 12))


def test_unused_categories_are_left_out_with_a_note() -> None:
    chosen = np.repeat([0, 2, 5], [10, 20, 5])
    fit = fit_cumulative_link(chosen, count=7)
    assert fit.categories == (0, 2, 5)
    assert fit.notes == ("nobody chose 1, 3, 4, 6, so the thresholds beside them fall together",)
    assert fit.thresholds == pytest.approx([math.log(10 / 25), math.log(30 / 5)])


def test_notes_and_errors_call_categories_by_their_names() -> None:
    answers = ("much worse", "worse", "alike", "better", "much better")
    options: dict[str, Any] = {"symmetric": True, "count": 5, "category_names": answers}
    fit = fit_cumulative_link([0, 1, 3, 3, 4], np.ones((5, 1)), **options)
    assert fit.notes == ("nobody chose “alike”, so the thresholds beside it fall together",)
    fit = fit_cumulative_link([1, 2, 3, 3], ONES, **options)
    assert fit.notes == ("nobody chose “much worse”, “much better”, so the thresholds beside them fall together",)
    with pytest.raises(OrdinalError, match="every choice is “better”: nothing tells"):
        fit_cumulative_link([3, 3, 3, 3], ONES, **options)
    with pytest.raises(OrdinalError, match="2 names for 5 categories"):
        fit_cumulative_link([1, 2, 3, 3], ONES, **(options | {"category_names": answers[:2]}))


def test_one_cluster_of_a_kind_has_no_clustered_error_and_a_reason() -> None:
    fit = fit_cumulative_link(RATING - 1, WINE, names=NAMES, groups=clusters(np.zeros(72), BOTTLE))
    assert "of one evaluator" in fit.coefficient("temp").reason
    assert np.isnan(fit.coefficient("temp").low)
    assert np.isnan(fit.robust_covariance).all()
    alone = fit_cumulative_link(RATING - 1, WINE, names=NAMES)
    assert np.isnan(alone.robust_covariance).all()
    assert alone.coefficient("temp").standard_error == pytest.approx(0.5286801, abs=1e-6)
    assert alone.coefficient("temp").p == pytest.approx(2.19e-6, rel=0.01)  # summary(clm)
    assert alone.contrast([0, 0]).reason == "nothing is weighted"


ONES = np.ones((4, 1))


@pytest.mark.parametrize(
    ("chosen", "covariates", "options", "message"),
    [
        ([2, 2, 2, 2], ONES, {"symmetric": True, "count": 5}, "every choice is category 2"),
        ([3, 4, 3, 4], ONES, {"symmetric": True, "count": 5}, "separated, and nothing in them bounds the size of 'x0'"),
        ([0, 0, 1, 1], [[0.0], [1], [2], [3]], {"names": ["dose"]}, "bounds the size of 'dose'"),
        ([0, 1, 0, 1], ONES, {}, "'x0' cannot be told from the others and the thresholds"),
        ([0, 1, 0, 1], [[1, 2], [2, 4], [3, 6], [1, 2]], {"symmetric": True}, "'x1' cannot be told from the others"),
        ([0, 1, 0, 1], None, {"symmetric": True}, "nothing to estimate"),
        ([0, 1, 5, 1], None, {"count": 5}, "category 2 is 5, not one of 0 … 4"),
        ([0, 1.5], None, {}, "category 1 is 1.5"),
        ([], None, {}, "at least one choice"),
        ([0, 1, 0, 1], np.ones((3, 1)), {}, r"covariates must be \(4, P\)"),
        ([0, 1, 0, 1], [[0], [1], [np.nan], [1]], {}, "must be finite"),
        ([0, 1, 0, 1], None, {"link": "cloglog"}, "'cloglog' is none of logit, probit"),
        ([0, 1, 0, 1], ONES, {"names": ["a", "b"]}, "2 names for 1 covariates"),
        ([0, 1, 0, 1], None, {"groups": clusters([1, 2], [1, 2])}, "2 cluster labels for 4 ratings"),
    ],
)
def test_what_cannot_be_fitted_is_named(chosen: list, covariates: object, options: dict, message: str) -> None:
    with pytest.raises(OrdinalError, match=message):
        fit_cumulative_link(chosen, covariates, **options)  # type: ignore[arg-type]


def test_wrong_questions_to_a_fit_are_named() -> None:
    fit = fit_cumulative_link(RATING - 1, WINE, names=NAMES)
    with pytest.raises(OrdinalError, match="'colour' is none of the coefficients"):
        fit.coefficient("colour")
    with pytest.raises(OrdinalError, match="2 weights are needed"):
        fit.contrast([1, 2, 3])
    with pytest.raises(OrdinalError, match=r"must be \(M, 2\)"):
        fit.probabilities([1, 2])
