"""Agreement against published tables, the definitions written out, and what must not change it."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from evenhand.analysis.agreement import (
    AgreementError,
    UnitCounts,
    agreement_weights,
    alpha_interval,
    alpha_of_counts,
    consistency,
    count_ratings,
    gwet_ac2,
    krippendorff_alpha,
    pass_rate,
    percent_agreement,
    study_pass_rate,
)
from evenhand.analysis.clustered import clusters, mean_estimate
from evenhand.analysis.simulated_study import Design, matched_model, simulate_study

NAN = float("nan")
# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: four observers, twelve units.
CANONICAL = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T

answers = st.sampled_from([NAN, -2.0, -1.0, 0.0, 1.0, 2.0])
tables = arrays.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 4)), elements=answers)


def by_definition(table: NDArray, level: str) -> float:
    """1 − D_o/D_e with every pair of values visited."""
    units = [unit[~np.isnan(unit)] for unit in table]
    units = [unit for unit in units if len(unit) >= 2]
    pooled = np.concatenate(units)

    def distance(a: float, b: float) -> float:
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return (a - b) ** 2
        between = [(pooled == v).sum() for v in np.unique(pooled) if min(a, b) <= v <= max(a, b)]
        return (sum(between) - ((pooled == a).sum() + (pooled == b).sum()) / 2) ** 2 if a != b else 0.0

    observed = sum(distance(a, b) / (len(unit) - 1) for unit in units for a, b in permutations(unit, 2)) / len(pooled)
    expected = sum(distance(a, b) for a, b in permutations(pooled, 2)) / (len(pooled) * (len(pooled) - 1))
    return 1 - observed / expected


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.7434), ("ordinal", 0.8154), ("interval", 0.8491), ("ratio", 0.7974)]
)
def test_krippendorff_s_own_table_gives_his_numbers(level: str, alpha: float) -> None:
    assert krippendorff_alpha(CANONICAL, level) == pytest.approx(alpha, abs=5e-5)


def test_the_level_is_ordinal_unless_said() -> None:
    assert krippendorff_alpha(CANONICAL) == krippendorff_alpha(CANONICAL, "ordinal")


@given(table=tables, level=st.sampled_from(["nominal", "ordinal", "interval"]))
def test_it_is_the_definition(table: NDArray, level: str) -> None:
    alpha = krippendorff_alpha(table, level)
    assume(not np.isnan(alpha))
    assert alpha == pytest.approx(by_definition(table, level), abs=1e-9)
    assert alpha <= 1 + 1e-12


@given(table=tables, seed=st.integers(0, 1000))
def test_the_order_of_units_and_raters_does_not_matter(table: NDArray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = table[rng.permutation(len(table))][:, rng.permutation(table.shape[1])]
    assert krippendorff_alpha(shuffled) == pytest.approx(krippendorff_alpha(table), abs=1e-9, nan_ok=True)


@given(table=tables)
def test_levels_keep_what_their_scale_allows(table: NDArray) -> None:
    """Ordinal: any increasing relabelling. Interval: shift and stretch."""
    assert krippendorff_alpha(np.exp(table)) == pytest.approx(krippendorff_alpha(table), abs=1e-9, nan_ok=True)
    stretched = krippendorff_alpha(3 * table + 7, "interval")
    assert stretched == pytest.approx(krippendorff_alpha(table, "interval"), abs=1e-9, nan_ok=True)


def test_perfect_agreement_is_one_and_opposite_answers_are_below_chance() -> None:
    assert krippendorff_alpha([[2, 2], [-1, -1], [0, 0]]) == pytest.approx(1.0)
    assert krippendorff_alpha([[2, -2], [-2, 2], [2, -2]]) < 0


@pytest.mark.parametrize(
    "table", [[[1, NAN], [NAN, 2]], [[1, 1], [1, 1]], np.empty((0, 3))], ids=["one rating a unit", "one value", "empty"]
)
def test_nothing_to_agree_on_is_nan(table: object) -> None:
    assert np.isnan(krippendorff_alpha(table))  # type: ignore[arg-type]


def test_bad_input_is_named() -> None:
    with pytest.raises(AgreementError, match="'cardinal' is none of nominal, ordinal"):
        krippendorff_alpha(CANONICAL, "cardinal")
    with pytest.raises(AgreementError, match=r"not of shape \(3,\)"):
        krippendorff_alpha([1, 2, 3])
    with pytest.raises(AgreementError, match="finite"):
        krippendorff_alpha([[1, np.inf]])


# Gwet, Handbook of Inter-Rater Reliability (4th ed., 2014), page 125: 15 units, five observers, scores 0 … 3.
FIVE_OBSERVERS = np.array(
    [
        [1, 1, 2, NAN, 0, 0, 1, 1, 2, 2, NAN, 0, 1, 3, 1],
        [1, 1, 3, 0, 0, 0, 0, NAN, 2, 1, 1, 0, 2, 3, 1],
        [2, 0, 3, 0, 0, 0, 2, 2, 2, 1, 0, 0, 2, 2, 1],
        [NAN, 1, 3, NAN, NAN, NAN, NAN, 0, NAN, 1, 0, 0, 2, 2, NAN],
        [2, NAN, NAN, 0, 0, 0, 1, NAN, 2, NAN, NAN, NAN, NAN, 3, 1],
    ]
).T


def counted(table: NDArray, values: NDArray | None = None) -> UnitCounts:
    units, raters = np.nonzero(~np.isnan(table))
    return count_ratings(units, table[units, raters], values)


@pytest.mark.parametrize(
    ("weights", "agreed", "ac2"),
    [("identity", 0.818, 0.775), ("linear", 0.939, 0.859), ("ordinal", 0.968, 0.899), ("quadratic", 0.975, 0.914)],
)
def test_gwet_s_coefficients_of_the_canonical_table(weights: str, agreed: float, ac2: float) -> None:
    """His page 120 rates the same units; the numbers are those of his R package irrCAC, also in its Python version."""
    counts = counted(CANONICAL)
    assert percent_agreement(counts, weights) == pytest.approx(agreed, abs=6e-4)
    assert gwet_ac2(counts, weights) == pytest.approx(ac2, abs=6e-4)


def test_gwet_s_ac1_of_five_observers() -> None:
    assert percent_agreement(counted(FIVE_OBSERVERS)) == pytest.approx(0.616, abs=6e-4)
    assert gwet_ac2(counted(FIVE_OBSERVERS), "identity") == pytest.approx(0.497, abs=6e-4)


def test_weights_are_gwet_s() -> None:
    """Of three values, as irrCAC prints them; and of five by hand: C(2, 2)/C(5, 2) = 1/10 for neighbours."""
    assert agreement_weights([1, 2, 3], "ordinal")[0] == pytest.approx([1, 2 / 3, 0])
    assert agreement_weights([1, 2, 3], "linear")[0] == pytest.approx([1, 0.5, 0])
    assert agreement_weights([1, 2, 3], "quadratic")[0] == pytest.approx([1, 0.75, 0])
    assert agreement_weights(range(5), "ordinal")[0] == pytest.approx([1, 0.9, 0.7, 0.4, 0])


def test_ac2_by_hand() -> None:
    """Two units, two ratings each, of the values 0 and 1: one pair agrees, so p_a = 1/2; π = (3/4, 1/4).

    Chance is T_w / (q (q − 1)) Σ π (1 − π) = 2/2 · 2 · 3/16 = 3/8, and (1/2 − 3/8) / (5/8) = 1/5.
    """
    counts = count_ratings([1, 1, 2, 2], [0, 0, 0, 1])
    assert percent_agreement(counts) == 0.5
    assert gwet_ac2(counts) == pytest.approx(0.2)
    # of three possible values T_w = 3 + 4 · 2/3, and neighbours agree by 2/3: p_a = 5/6, p_e = (17/3)/6 · 3/8
    of_three = count_ratings([1, 1, 2, 2], [0, 0, 0, 1], [0, 1, 2])
    chance = 17 / 18 * 3 / 8
    assert gwet_ac2(of_three) == pytest.approx((5 / 6 - chance) / (1 - chance))


@given(table=tables, seed=st.integers(0, 1000))
def test_neither_the_order_of_ratings_nor_a_mirrored_scale_changes_agreement(table: NDArray, seed: int) -> None:
    scale = np.arange(-2.0, 3.0)
    units, raters = np.nonzero(~np.isnan(table))
    order = np.random.default_rng(seed).permutation(len(units))
    here = count_ratings(units, table[units, raters], scale)
    there = count_ratings([f"u{each}" for each in units[order]], -table[units, raters][order], scale)
    assert (here.units, here.rated_twice) == (there.units, there.rated_twice)
    for weights in ("identity", "linear", "ordinal", "quadratic"):
        assert percent_agreement(here, weights) == pytest.approx(percent_agreement(there, weights), nan_ok=True)
        assert gwet_ac2(here, weights) == pytest.approx(gwet_ac2(there, weights), nan_ok=True)
    assert alpha_of_counts(here) == pytest.approx(krippendorff_alpha(table), nan_ok=True)


def test_perfect_agreement_is_one_and_nothing_to_agree_on_is_nan() -> None:
    perfect = count_ratings([1, 1, 2, 2], [0, 0, 2, 2], range(-2, 3))
    assert percent_agreement(perfect) == gwet_ac2(perfect) == 1
    for nothing in (count_ratings([1, 2], [0, 1]), count_ratings([], [])):
        assert math.isnan(percent_agreement(nothing))
        assert math.isnan(gwet_ac2(nothing))
        assert nothing.rated_twice == 0
    assert math.isnan(gwet_ac2(count_ratings([1, 1], [0, 0])))  # one possible value


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_the_interval_of_alpha_is_that_of_three_jackknives(level: str) -> None:
    """Units, evaluators and ratings are left out one by one, and α is computed anew."""
    study = simulate_study(
        Design(12, 15, 40), matched_model([0.1, 0.2, 0.3, 0.25, 0.15], 0.1, 0.3), np.random.default_rng(3)
    )
    units, ratings, people = study.prompt, study.preference.astype(float), study.evaluator
    found = alpha_interval(units, ratings, people, level=level)
    alpha = alpha_of_counts(count_ratings(units, ratings), level)

    def jackknife(labels: NDArray) -> NDArray:
        names = np.unique(labels)
        each = np.array(
            [alpha_of_counts(count_ratings(units[labels != name], ratings[labels != name]), level) for name in names]
        )
        most = len(names) - 1
        return np.array([most * (each.mean() - alpha), most / len(names) * ((each - each.mean()) ** 2).sum()])

    of_units = jackknife(units)
    bias, variance = of_units + jackknife(people) - jackknife(np.arange(len(units)))
    reach = 2.200985 * math.sqrt(max(variance, of_units[1])) / (1 - alpha + bias)  # t of 11 degrees of freedom
    assert found.alpha == pytest.approx(alpha)
    assert (found.units, found.rated_twice, found.reason) == (40, 40, "")
    assert math.log((1 - found.low) / (1 - found.high)) == pytest.approx(2 * reach, rel=1e-5)
    assert math.sqrt((1 - found.low) * (1 - found.high)) == pytest.approx(1 - alpha + bias, rel=1e-6)
    assert found.low < alpha < found.high < 1


def test_alpha_lies_in_its_own_interval_however_large_its_bias_is() -> None:
    """8 × 12 ratings by people who differ much: the bias moves the interval above α. In a small table it is below."""
    model, rng = matched_model([0.02, 0.17, 0.21, 0.42, 0.18], 0.4, 0.0), np.random.default_rng(3)
    studies = [simulate_study(Design(8, 12, 12), model, rng) for _ in range(60)]
    found = [alpha_interval(each.prompt, each.preference, each.evaluator) for each in studies]
    assert all(each.low <= each.alpha < each.high for each in found)
    assert any(each.low == each.alpha for each in found)  # these were extended
    unit, person = np.divmod(np.arange(12), 3)
    small = alpha_interval(unit, [1, 2, -2, -2, 2, 2, -1, -1, 2, 0, -1, 2], person)
    assert small.low < small.high == small.alpha == pytest.approx(-0.348659, abs=1e-6)


def test_alpha_of_few_evaluators_who_differ_falls_short_and_the_interval_knows() -> None:
    """5 × 51 ratings: α is 0.05 too small on average, and of the misses few lie below the truth."""
    model, rng = matched_model([0.02, 0.17, 0.21, 0.42, 0.18], 0.25, 0.15), np.random.default_rng(7)
    many = simulate_study(Design(400, 40, 1500), model, rng)
    true = alpha_of_counts(count_ratings(many.prompt, many.preference))
    studies = [simulate_study(Design(5, 51, 150), model, rng) for _ in range(150)]
    found = [alpha_interval(each.prompt, each.preference, each.evaluator) for each in studies]
    assert np.mean([each.alpha for each in found]) == pytest.approx(true - 0.05, abs=0.03)
    assert np.mean([each.high < true for each in found]) < 0.08


def test_the_interval_holds_alpha_as_often_as_it_says() -> None:
    model, rng = matched_model([0.02, 0.17, 0.21, 0.42, 0.18], 0.05, 0.3), np.random.default_rng(2)
    many = [simulate_study(Design(300, 40, 1500), model, rng) for _ in range(4)]
    true = np.mean([alpha_of_counts(count_ratings(each.prompt, each.preference)) for each in many])
    studies = [simulate_study(Design(17, 15, 150), model, rng) for _ in range(200)]
    found = [alpha_interval(each.prompt, each.preference, each.evaluator) for each in studies]
    assert 0.91 < np.mean([each.low <= true <= each.high for each in found]) < 0.995


def test_the_interval_does_not_depend_on_names_or_order() -> None:
    study = simulate_study(Design(6, 10, 20), matched_model([0.2] * 5, 0.1, 0.3), np.random.default_rng(1))
    order = np.random.default_rng(0).permutation(60)
    here = alpha_interval(study.prompt, study.preference, study.evaluator)
    there = alpha_interval(
        [f"u{each}" for each in study.prompt[order]], 3 - study.preference[order], -study.evaluator[order]
    )
    assert (there.low, there.high, there.alpha) == pytest.approx((here.low, here.high, here.alpha))


@pytest.mark.parametrize(
    ("units", "ratings", "reason"),
    [
        ([], [], "none of 0 units were rated twice"),
        ([1, 2, 3], [0, 1, 2], "none of 3 units were rated twice"),
        ([1, 1, 2], [0, 1, 2], "1 of 2 units was rated twice"),
        ([1, 1, 2, 2], [1, 1, 1, 1], "are equal"),
        ([1, 1, 2, 2], [0, 0, 2, 2], "all ratings of a unit are equal"),
        ([1, 1, 2, 2, 3, 3], [0, 0, 0, 0, 0, 2], "one unit alone tells of disagreement"),
    ],
)
def test_no_interval_of_alpha_has_a_reason(units: list, ratings: list, reason: str) -> None:
    found = alpha_interval(units, ratings, [i % 2 for i in range(len(units))])
    assert reason in found.reason
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_one_evaluator_has_no_interval_of_alpha() -> None:
    found = alpha_interval([1, 1, 2, 2, 3], [0, 1, 2, 2, 1], [7] * 5)
    assert "of one evaluator" in found.reason


def test_repeats_are_compared_by_side_and_distance() -> None:
    first, second = np.array([2, 1, 0, -1, -2, 0, 1, 1]), np.array([1, 1, 0, 1, -2, 2, 2, -1])
    groups = clusters([1, 1, 2, 2, 3, 3, 4, 4], range(8))
    found = consistency(first, second, groups)
    assert found.repeats == 8
    assert found.same_side.estimate == 5 / 8
    assert found.difference.estimate == pytest.approx((1 + 0 + 0 + 2 + 0 + 2 + 1 + 2) / 8)
    assert found.difference.standard_error == mean_estimate(np.abs(first - second), groups).standard_error
    assert 0 <= found.same_side.low < 5 / 8 < found.same_side.high <= 1
    assert 0 <= found.difference.low < found.difference.high <= 4
    swapped = consistency(second, first, groups)
    assert swapped == found
    same = consistency(first, first, groups)
    assert (same.same_side.estimate, same.difference.estimate) == (1, 0)
    assert same.same_side.low < 1
    assert "equal" in same.difference.reason
    assert "no ratings" in consistency([], [], clusters([], [])).same_side.reason


def test_attention_rates_have_wilson_s_interval() -> None:
    """Newcombe (1998), Statistics in Medicine 17, 857: 81 of 263, and 0 of 20, Wilson's without correction."""
    found = pass_rate(81, 263)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)
    assert pass_rate(0, 20).low == 0
    assert pass_rate(0, 20).high == pytest.approx(0.1611, abs=5e-5)
    assert (pass_rate(20, 20).low, pass_rate(20, 20).high) == pytest.approx((1 - 0.1611, 1), abs=5e-5)
    assert pass_rate(0, 0).reason == "there are no checks"
    with pytest.raises(AgreementError, match="3 checks of 2"):
        pass_rate(3, 2)


def test_checks_of_people_who_fail_alike_tell_less() -> None:
    """Ten people of three checks: one failed all, so 27 of 30 passed; as if independent, ±10 points."""
    found, alone = study_pass_rate([3] * 9 + [0], [3] * 10), pass_rate(27, 30)
    assert found.estimate == alone.estimate == 0.9
    # G/(G − 1) Σ (x_g − 3p)² / N² = 10/9 · (9·0.3² + 2.7²) / 900 = 0.01, and p (1 − p) / 0.01 = 9 checks' worth
    assert found.standard_error == pytest.approx(0.1)
    assert found.degrees_of_freedom == 9
    assert found.low < alone.low < alone.high < found.high
    spread = study_pass_rate([2, 2, 2, 3, 3, 3, 3, 3, 3, 3], [3] * 10)
    assert spread.high - spread.low < found.high - found.low
    everybody = study_pass_rate([3] * 10, [3] * 10)
    assert (everybody.high, everybody.standard_error) == (1, 0)
    assert 0.5 < everybody.low < pass_rate(30, 30).low


def test_one_person_s_checks_are_a_pass_rate_of_their_own() -> None:
    assert study_pass_rate([0, 2], [0, 3]) == pass_rate(2, 3)
    assert study_pass_rate([], []).reason == "there are no checks"
    with pytest.raises(AgreementError, match="no numbers of the same people"):
        study_pass_rate([3], [2])
    with pytest.raises(AgreementError, match="no numbers of the same people"):
        study_pass_rate([3], [3, 3])


def test_bad_ratings_of_units_are_named() -> None:
    with pytest.raises(AgreementError, match="two lists of one length"):
        count_ratings([1, 2], [1])
    with pytest.raises(AgreementError, match="ratings must be finite"):
        count_ratings([1, 2], [1, NAN])
    with pytest.raises(AgreementError, match="rating 3 is none of the possible"):
        count_ratings([1, 2], [1, 3], [0, 1, 2])
    with pytest.raises(AgreementError, match="weights 'cubic' are none of"):
        gwet_ac2(count_ratings([1, 1], [0, 1]), "cubic")
    with pytest.raises(AgreementError, match="two lists of one length"):
        alpha_interval([1, 1], [0, 1], [1])
    with pytest.raises(AgreementError, match="must match"):
        consistency([1], [1, 2], clusters([1], [1]))
