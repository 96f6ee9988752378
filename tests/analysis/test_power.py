"""Power against statsmodels for independent ratings, and against simulated studies for the designs of studies."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from evenhand.analysis.clustered import clusters
from evenhand.analysis.power import (
    PowerError,
    assumptions,
    detectable_by_components,
    detectable_by_counts,
    detectable_by_study,
    detectable_difference,
    observed_design,
    required_evaluators,
    simulated_power,
)
from evenhand.analysis.simulated_study import PAPER_SHARES, Design, simulate_study
from evenhand.analysis.tallies import table
from evenhand.analysis.variance import VarianceComponents

PAPER = Design(evaluators=17, trials=15, prompts=150)
DESIGNS = {
    "the paper's": PAPER,
    "30 prompts": Design(17, 15, 30),
    "5 evaluators": Design(5, 51, 150),
    "51 evaluators": Design(51, 50, 150),
    "half full": Design(17, 15, 150, filled=0.5),
}


def test_one_rating_of_everybody_has_the_power_of_a_t_test() -> None:
    """Independent ratings: n evaluators, each prompt once."""
    assumed = assumptions(PAPER_SHARES, 0.0, 0.0)
    design = Design(40, 1, 40)
    variance = assumed.model.moved_to(0.3).variance()
    expected = TTestPower().power(effect_size=0.3 / math.sqrt(variance), nobs=40, alpha=0.05, df=39)
    assert assumed.power(design, 0.3) == pytest.approx(expected, abs=1e-6)
    assert assumed.standard_error(design, 0.3) == pytest.approx(math.sqrt(variance / 40))


def test_the_paper_s_design_effect_is_worked_out() -> None:
    """255 ratings of 150 prompts: 105 are rated twice and 45 once, so m_P = (105·4 + 45) / 255 = 1.8235."""
    assumed = assumptions(PAPER_SHARES, 0.1, 0.2)
    assert assumed.design_effect(PAPER) == pytest.approx(1 + 0.823529 * 0.2 + 14 * 0.1, abs=1e-6)
    at_null = assumed.model.moved_to(0.0).variance()
    assert assumed.standard_error(PAPER, 0.0) == pytest.approx(math.sqrt(at_null * 2.564706 / 255), abs=1e-6)


def test_the_differences_that_the_paper_s_design_finds() -> None:
    """In points of net preference, power 80 %: 16 of independent ratings, 25 with correlations of 0.1 and 0.2."""
    found = [detectable_difference(assumptions(PAPER_SHARES, *each), PAPER).value for each in ((0, 0), (0.1, 0.2))]
    assert found == pytest.approx([0.160, 0.251], abs=5e-4)
    mean = detectable_difference(assumptions(PAPER_SHARES, 0.1, 0.2, score="mean"), PAPER).value
    assert found[1] < mean < 2 * found[1]


@pytest.mark.parametrize("name", DESIGNS)
def test_formula_and_simulation_agree(name: str) -> None:
    """Within 7 points: 400 studies have a standard error of 2, and the floor of the variance costs some power."""
    assumed, design = assumptions(PAPER_SHARES, 0.05, 0.1), DESIGNS[name]
    difference = detectable_difference(assumed, design).value
    found = simulated_power(assumed, design, difference, np.random.default_rng(4), studies=400)
    assert found.found == pytest.approx(0.8, abs=0.07)
    assert found.mean == pytest.approx(difference, abs=0.025)
    assert found.standard_error == pytest.approx(assumed.standard_error(design, difference), rel=0.12)
    assert 0.92 < found.covered < 0.99
    assert found.untested == 0
    assert found.error == pytest.approx(0.02, abs=0.003)


def test_studies_without_a_difference_are_found_in_one_of_twenty() -> None:
    assumed = assumptions(PAPER_SHARES, 0.1, 0.2)
    assert assumed.power(PAPER, 0.0) == pytest.approx(0.05)
    found = simulated_power(assumed, PAPER, 0.0, np.random.default_rng(5), studies=600)
    assert found.found == pytest.approx(0.05, abs=0.03)
    assert found.mean == pytest.approx(0, abs=0.015)


@settings(max_examples=20, deadline=None)
@given(difference=st.floats(0.01, 0.9), rho_e=st.floats(0, 0.3), rho_p=st.floats(0, 0.3))
def test_power_grows_with_the_difference_and_falls_with_correlation(
    difference: float, rho_e: float, rho_p: float
) -> None:
    assumed = assumptions([0.1, 0.2, 0.4, 0.2, 0.1], rho_e, rho_p)
    power = assumed.power(PAPER, difference)
    assert 0.05 <= power <= 1
    assert assumed.power(PAPER, -difference) == pytest.approx(power)  # symmetric shares
    assert assumed.power(PAPER, min(difference * 1.1, 0.95)) >= power - 1e-9
    assert replace(assumed, evaluator_correlation=rho_e + 0.05).power(PAPER, difference) <= power + 1e-9


@pytest.mark.parametrize("difference", [0.15, 0.25, 0.4])
def test_the_evaluators_that_are_required_are_the_fewest(difference: float) -> None:
    assumed = assumptions(PAPER_SHARES, 0.05, 0.1)
    needed = required_evaluators(assumed, PAPER, difference)
    assert needed.reason == ""
    for more, is_enough in ((0, True), (-1, False)):
        design = replace(PAPER, evaluators=int(needed.value) + more)
        assert (assumed.power(design, difference) >= 0.8) == is_enough
    assert required_evaluators(assumed, PAPER, -difference).value == pytest.approx(needed.value, abs=2)


def test_detectable_difference_and_required_evaluators_answer_each_other() -> None:
    assumed = assumptions(PAPER_SHARES, 0.1, 0.2)
    difference = detectable_difference(assumed, PAPER).value
    assert assumed.power(PAPER, difference) == pytest.approx(0.8, abs=1e-4)
    assert required_evaluators(assumed, PAPER, difference).value == 17


def test_too_few_prompts_are_not_cured_by_evaluators() -> None:
    few = Design(10, 5, 5)
    found = required_evaluators(assumptions(PAPER_SHARES, 0.05, 0.4), few, 0.05)
    assert math.isnan(found.value)
    assert "5 prompts are too few" in found.reason


def test_a_difference_that_no_study_of_this_size_finds_is_said() -> None:
    found = detectable_difference(assumptions(PAPER_SHARES, 0.3, 0.3), Design(2, 2, 2))
    assert math.isnan(found.value)
    assert "even 98 points would be missed in more than 20 %" in found.reason


@settings(max_examples=25, deadline=None)
@given(evaluators=st.integers(2, 60), trials=st.integers(1, 30), rho_e=st.floats(0, 0.3), rho_p=st.floats(0, 0.3))
def test_more_evaluators_find_smaller_differences(evaluators: int, trials: int, rho_e: float, rho_p: float) -> None:
    assumed = assumptions(PAPER_SHARES, rho_e, rho_p)
    few, more = (
        detectable_difference(assumed, Design(each, trials, 150)).value for each in (evaluators, 2 * evaluators)
    )
    assert math.isnan(few) or more < few
    if not math.isnan(few):
        assert assumed.power(Design(evaluators, trials, 150), few) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("design", [PAPER, Design(5, 51, 150), Design(7, 10, 10)])
def test_a_full_study_has_the_design_that_was_planned(design: Design) -> None:
    study = simulate_study(design, assumptions(PAPER_SHARES, 0.1, 0.1).model, np.random.default_rng(1))
    found = observed_design(study.groups)
    assert found.ratings == design.ratings
    assert found.ratings_per_evaluator == pytest.approx(design.ratings_per_evaluator)
    assert found.ratings_per_prompt == pytest.approx(design.ratings_per_prompt)
    assert found.degrees_of_freedom == design.degrees_of_freedom


def test_unequal_ratings_count_by_the_squares_of_their_clusters() -> None:
    """Evaluators gave 3 and 1 ratings: m_E = 10 / 4."""
    found = observed_design(clusters([1, 1, 1, 2], [1, 2, 3, 1]))
    assert (found.ratings, found.ratings_per_evaluator, found.ratings_per_prompt) == (4, 2.5, 1.5)
    assert found.degrees_of_freedom == 1


def test_what_a_study_could_have_found_is_what_its_plan_says_on_average() -> None:
    """And it does not depend on what was found: the same for studies of the paper's difference and of none."""
    assumed, rng = assumptions(PAPER_SHARES, 0.1, 0.2), np.random.default_rng(2)
    planned = detectable_difference(assumed, PAPER).value
    for difference in (0.0, 0.41):
        model, values = assumed.model.moved_to(difference), []
        for _ in range(60):
            study = simulate_study(PAPER, model, rng)
            values.append(detectable_by_study(study.preference, study.groups).value)
        assert np.mean(values) == pytest.approx(planned, abs=0.02)


def test_components_that_the_ratings_do_not_tell_count_as_none() -> None:
    design = Design(40, 1, 40)
    untold = detectable_by_components(PAPER_SHARES, VarianceComponents(math.nan, math.nan, 0.6), design)
    alone = detectable_difference(assumptions(PAPER_SHARES, 0, 0), design)
    assert untold == alone


@pytest.mark.parametrize(
    ("preference", "people", "prompts", "reason"),
    [
        ([1, 1, 0], [1, 1, 1], [1, 2, 3], "of one evaluator"),
        ([1, 1, 2, 1], [1, 1, 2, 2], [1, 2, 1, 2], "all ratings are equal"),
        ([], [], [], "no ratings"),
    ],
)
def test_a_study_without_a_test_says_why(preference: list, people: list, prompts: list, reason: str) -> None:
    found = detectable_by_study(preference, clusters(people, prompts))
    assert math.isnan(found.value)
    assert reason in found.reason


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), evaluators=st.integers(1, 8), pairs=st.integers(1, 20), spread=st.floats(0, 3))
def test_counts_tell_what_a_study_could_have_found_as_its_ratings_do(
    seed: int, evaluators: int, pairs: int, spread: float
) -> None:
    """Any ratings of which nobody gave two to one prompt; the reasons too."""
    rng = np.random.default_rng(seed)
    people, prompts = np.nonzero(rng.random((evaluators, pairs)) < rng.random())
    opinion = spread * rng.normal(size=evaluators)[people] + rng.normal(size=pairs)[prompts]
    preference = np.clip(np.round(opinion + rng.normal(size=len(people))), -2, 2).astype(int)
    counts = (table(preference + 2, 5, index, clusters=12 + pairs) for index in (people, prompts))  # empty ones too
    counted, single = detectable_by_counts(*counts), detectable_by_study(preference, clusters(people, prompts))
    assert counted.reason == single.reason
    assert counted.value == pytest.approx(single.value, abs=1e-6, nan_ok=True)
    assert math.isnan(counted.value) == bool(counted.reason)


def test_a_study_that_no_model_fits_says_so() -> None:
    """Two evaluators and two prompts explain every rating, more than normal opinions cut into sides can."""
    preference, people, prompts = [2, 0, 0, -2], [1, 1, 2, 2], [1, 2, 1, 2]
    found = detectable_by_study(preference, clusters(people, prompts))
    assert math.isnan(found.value)
    assert found.reason == "evaluators and prompts differ more in these ratings than a model of opinions allows"
    apart = detectable_by_study([1, -1], clusters([1, 2], [1, 2]))
    assert "even 98 points would be missed" in apart.reason


def test_a_simulation_stops_when_its_time_is_over() -> None:
    assumed = assumptions(PAPER_SHARES, 0.1, 0.2)
    found = simulated_power(assumed, PAPER, 0.2, np.random.default_rng(0), studies=100_000, seconds=0.0)
    assert found.studies == 2
    assert simulated_power(assumed, PAPER, 0.2, np.random.default_rng(0), studies=3, seconds=60).studies == 3


def test_studies_without_a_test_are_counted_as_finding_nothing() -> None:
    assumed = assumptions([0.0, 0.05, 0.0, 0.95, 0.0], 0.0, 0.0)
    found = simulated_power(assumed, Design(2, 2, 4), 0.9, np.random.default_rng(0), studies=50)
    assert 0 < found.untested < 50
    assert found.found <= 1 - found.untested / 50


def test_bad_questions_are_named() -> None:
    assumed = assumptions(PAPER_SHARES, 0.1, 0.2)
    with pytest.raises(PowerError, match="one evaluator or one prompt alone"):
        assumed.power(Design(1, 10, 20), 0.1)
    assert "one evaluator or one prompt alone" in detectable_difference(assumed, Design(1, 10, 20)).reason
    with pytest.raises(PowerError, match=r"power lies between 0\.05 and 1, not 1\.2"):
        detectable_difference(assumed, PAPER, power=1.2)
    with pytest.raises(PowerError, match="not one that a net can have"):
        required_evaluators(assumed, PAPER, 0.0)
    with pytest.raises(PowerError, match="'median' is none of net, mean"):
        assumptions(PAPER_SHARES, 0.1, 0.2, score="median")
    with pytest.raises(PowerError, match="level lies between"):
        assumptions(PAPER_SHARES, 0.1, 0.2, level=95)
    with pytest.raises(PowerError, match="at least two studies"):
        simulated_power(assumed, PAPER, 0.1, np.random.default_rng(0), studies=1)
