"""Davidson's tie model against published data, a closed form, another optimiser, and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from evenhand.analysis.clustered import Clusters, clusters, two_way_covariance
from evenhand.analysis.davidson import DavidsonError, DavidsonFit, fit_comparisons, fit_davidson

# Springall (1973), Applied Statistics 22, 59-68, section 7: nine mixtures, each pair compared for flavour strength.
# Upper triangle: how often the row was judged stronger; lower triangle: the row against the column likewise; and ties.
SPRINGALL_WINS = [
    [0, 2, 0, 5, 2, 0, 12, 13, 10],
    [16, 0, 6, 17, 9, 8, 24, 16, 15],
    [21, 11, 0, 22, 14, 11, 24, 22, 17],
    [10, 2, 2, 0, 3, 2, 12, 10, 8],
    [15, 6, 4, 14, 0, 5, 20, 15, 13],
    [22, 12, 4, 18, 11, 0, 27, 19, 18],
    [3, 2, 1, 6, 0, 1, 0, 2, 2],
    [9, 3, 0, 6, 2, 1, 13, 0, 6],
    [12, 2, 2, 9, 5, 2, 21, 8, 0],
]
SPRINGALL_TIES = [
    [0, 7, 1, 10, 7, 2, 9, 5, 3],
    [7, 0, 5, 7, 8, 6, 0, 5, 7],
    [1, 5, 0, 4, 5, 7, 3, 3, 6],
    [10, 7, 4, 0, 9, 4, 5, 6, 11],
    [7, 8, 5, 9, 0, 9, 2, 5, 9],
    [2, 6, 7, 4, 9, 0, 0, 5, 2],
    [9, 0, 3, 5, 2, 0, 0, 8, 5],
    [5, 5, 3, 6, 5, 5, 8, 0, 8],
    [3, 7, 6, 11, 9, 2, 5, 8, 0],
]


def counts_from(fit: DavidsonFit, each: int, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """``each`` simulated comparisons of every pair, under a fit's probabilities."""
    k = len(fit.items)
    wins, ties = np.zeros((k, k)), np.zeros((k, k))
    for i in range(k):
        for j in range(i + 1, k):
            win, tie, loss = rng.multinomial(each, fit.probabilities(fit.items[i], fit.items[j]))
            wins[i, j], wins[j, i], ties[i, j], ties[j, i] = win, loss, tie, tie
    return wins, ties


def truth(strengths: list[float], log_nu: float) -> DavidsonFit:
    k = len(strengths)
    return DavidsonFit(tuple(range(k)), k - 1, np.array(strengths), log_nu, 0.0, np.zeros((k + 1, k + 1)), 0.0)


def test_springall_s_data_give_the_numbers_of_psychotools() -> None:
    """R's psychotools::btmodel on the same 885 comparisons; the last item is its reference too."""
    fit = fit_davidson(range(1, 10), SPRINGALL_WINS, SPRINGALL_TIES)
    expected = [-0.607438, 1.665791, 2.683311, -0.209828, 1.287351, 2.235409, -1.888905, -0.612336, 0.0]
    assert fit.comparisons == 885
    assert fit.strengths == pytest.approx(expected, abs=1e-6)
    assert fit.log_nu == pytest.approx(-0.144392, abs=1e-6)
    assert fit.log_likelihood == pytest.approx(-732.067255, abs=1e-6)


@given(wins=st.integers(1, 500), losses=st.integers(1, 500), ties=st.integers(1, 500))
def test_two_items_have_the_closed_form(wins: int, losses: int, ties: int) -> None:
    """Two items saturate the model: the fitted chances are the shares, so θ = log(w/l) and ν = t/√(w l)."""
    fit = fit_davidson(["sfg", "cfg"], [[0, wins], [losses, 0]], [[0, ties], [ties, 0]])
    assert fit.strengths[0] == pytest.approx(np.log(wins / losses), abs=1e-7)
    assert fit.log_nu == pytest.approx(np.log(ties / np.sqrt(wins * losses)), abs=1e-7)
    n = wins + losses + ties
    assert fit.probabilities("sfg", "cfg") == pytest.approx((wins / n, ties / n, losses / n), abs=1e-8)
    # the delta method on a multinomial: Var(log w − log l) = 1/w + 1/l
    assert fit.standard_errors[0] == pytest.approx(np.sqrt(1 / wins + 1 / losses), rel=1e-6)


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_no_other_optimiser_finds_a_higher_likelihood(data: st.DataObject) -> None:
    k = data.draw(st.integers(2, 5))
    cells = st.lists(st.integers(1, 30), min_size=k * k, max_size=k * k)
    wins, ties = (np.array(data.draw(cells), dtype=float).reshape(k, k) for _ in range(2))
    ties = np.triu(ties, 1) + np.triu(ties, 1).T
    np.fill_diagonal(wins, 0)

    def minus_log_likelihood(parameters: NDArray) -> float:
        pi, nu, total = np.exp(np.append(parameters[:-1], 0.0)), np.exp(parameters[-1]), 0.0
        for i in range(k):
            for j in range(i + 1, k):
                draw = nu * np.sqrt(pi[i] * pi[j])
                chances = np.array([pi[i], pi[j], draw]) / (pi[i] + pi[j] + draw)
                total -= np.array([wins[i, j], wins[j, i], ties[i, j]]) @ np.log(chances)
        return total

    fit = fit_davidson(range(k), wins, ties)
    found = optimize.minimize(minus_log_likelihood, np.zeros(k), method="Nelder-Mead" if k == 2 else "BFGS")
    assert fit.log_likelihood == pytest.approx(-minus_log_likelihood(np.append(fit.strengths[:-1], fit.log_nu)))
    assert fit.log_likelihood >= -found.fun - 1e-9
    assert found.x == pytest.approx(np.append(fit.strengths[:-1], fit.log_nu), abs=2e-3)


def test_simulated_comparisons_give_back_their_strengths_within_their_standard_errors() -> None:
    """Standardised errors over 200 simulated studies have mean square 1, for strengths and for log ν."""
    rng, true = np.random.default_rng(3), truth([0.8, -0.5, 0.3, 0.0], -0.3)
    squares = []
    for _ in range(200):
        fit = fit_davidson(range(4), *counts_from(true, 60, rng))
        errors = np.append(fit.strengths[:3] - true.strengths[:3], fit.log_nu - true.log_nu)
        squares.append((errors / np.append(fit.standard_errors[:3], fit.log_nu_standard_error)) ** 2)
    # the mean of 200 χ²₁ values has a standard deviation of 0.1
    assert np.mean(squares, axis=0) == pytest.approx(np.ones(4), abs=0.35)


def test_another_reference_moves_strengths_and_errors_but_no_contrast() -> None:
    fit = fit_davidson("abcdefghi", SPRINGALL_WINS, SPRINGALL_TIES)
    direct = fit_davidson("abcdefghi", SPRINGALL_WINS, SPRINGALL_TIES, reference="c")
    moved = fit.relative_to("c")
    assert moved.reference == direct.reference == "c"
    assert moved.strengths == pytest.approx(direct.strengths, abs=1e-8)
    assert moved.standard_errors == pytest.approx(direct.standard_errors, abs=1e-8)
    assert moved.log_nu_standard_error == pytest.approx(fit.log_nu_standard_error)
    assert moved.standard_errors[2] == 0.0


def test_an_order_of_the_items_changes_nothing() -> None:
    order = [4, 0, 8, 2, 6, 1, 3, 5, 7]
    wins, ties = np.array(SPRINGALL_WINS), np.array(SPRINGALL_TIES)
    fit = fit_davidson(range(9), wins, ties)
    shuffled = fit_davidson(order, wins[np.ix_(order, order)], ties[np.ix_(order, order)], reference=8)
    assert shuffled.strengths == pytest.approx(fit.strengths[order], abs=1e-8)
    assert shuffled.log_likelihood == pytest.approx(fit.log_likelihood)


def test_without_ties_it_is_the_model_of_bradley_and_terry() -> None:
    fit = fit_davidson(["a", "b"], [[0, 30], [10, 0]], np.zeros((2, 2)))
    assert fit.log_nu == -np.inf
    assert fit.strengths[0] == pytest.approx(np.log(3))
    assert np.isnan(fit.log_nu_standard_error)
    assert fit.relative_to("a").standard_errors[1] == pytest.approx(np.sqrt(1 / 30 + 1 / 10))
    assert fit.probabilities("a", "b") == pytest.approx((0.75, 0.0, 0.25))


def test_an_item_that_never_loses_has_no_finite_strength() -> None:
    with pytest.raises(DavidsonError, match=r"lead of 'champion' over 'a', 'b'"):
        fit_davidson(["champion", "a", "b"], [[0, 4, 5], [0, 0, 3], [0, 2, 0]], [[0, 0, 0], [0, 0, 1], [0, 1, 0]])


def test_two_items_of_which_one_never_loses_are_unbounded_in_spite_of_ties() -> None:
    with pytest.raises(DavidsonError, match="lead of 'a' over 'b'"):
        fit_davidson(["a", "b"], [[0, 4], [0, 0]], [[0, 3], [3, 0]])


def test_ties_bound_an_item_that_never_loses_where_other_pairs_bound_nu() -> None:
    fit = fit_davidson(["a", "b", "c"], [[0, 4, 4], [0, 0, 9], [0, 7, 0]], [[0, 3, 3], [3, 0, 2], [3, 2, 0]])
    assert np.isfinite(fit.strengths).all()
    assert fit.strengths[0] > max(fit.strengths[1:])


@pytest.mark.parametrize(
    ("wins", "ties", "message"),
    [
        (np.zeros((3, 3)), np.zeros((3, 3)), "there are no comparisons"),
        ([[0, 1, 0], [1, 0, 0], [0, 0, 0]], np.zeros((3, 3)), r"connects 'a', 'b' with 'c'"),
        (np.zeros((3, 3)), np.ones((3, 3)) - np.eye(3), "every comparison is a tie"),
        (np.ones((2, 3)), np.zeros((3, 3)), r"wins must be a table of 3 × 3"),
        (np.eye(3), np.zeros((3, 3)), r"'a' is compared with itself"),
        (-np.ones((3, 3)), np.zeros((3, 3)), r"wins of 'a' and 'a' must be a count, not -1"),
        (np.ones((3, 3)) - np.eye(3), [[0, 1, 0], [0, 0, 0], [0, 0, 0]], r"symmetric; those of 'a' and 'b'"),
    ],
)
def test_bad_tables_are_named(wins: object, ties: object, message: str) -> None:
    with pytest.raises(DavidsonError, match=message):
        fit_davidson(["a", "b", "c"], wins, ties)  # type: ignore[arg-type]


def test_unknown_and_repeated_items_are_named() -> None:
    with pytest.raises(DavidsonError, match="'z' is none of the items"):
        fit_davidson(["a", "b"], [[0, 1], [1, 0]], [[0, 1], [1, 0]], reference="z")
    with pytest.raises(DavidsonError, match="must differ"):
        fit_davidson(["a", "a"], [[0, 1], [1, 0]], [[0, 1], [1, 0]])


def comparisons(seed: int, n: int = 300) -> tuple[NDArray, NDArray, NDArray, Clusters]:
    """Random comparisons of three items: first, second, preference, and who rated what."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 3, n)
    second = (first + rng.integers(1, 3, n)) % 3
    person, prompt = rng.integers(0, 12, n), rng.integers(0, 40, n)
    latent = np.array([0.6, 0.0, -0.4])[first] - np.array([0.6, 0.0, -0.4])[second] + rng.logistic(size=n)
    latent += rng.normal(size=12)[person] * np.where(first < second, 1, -1) / 2
    return first, second, np.sign(latent) * (np.abs(latent) > 0.5), clusters(person, prompt)


def test_comparisons_one_by_one_give_the_fit_of_their_counts() -> None:
    springall = [
        (i, j, sign)
        for i in range(9)
        for j in range(9)
        if i != j
        for sign, times in ((1, SPRINGALL_WINS[i][j]), (0, SPRINGALL_TIES[i][j] if i < j else 0))
        for _ in range(times)
    ]
    first, second, preference = np.array(springall).T
    each = np.arange(885)
    found = fit_comparisons(first, second, preference, clusters(each, each), items=range(1, 10))
    known = fit_davidson(range(1, 10), SPRINGALL_WINS, SPRINGALL_TIES)
    assert found.fit.strengths == pytest.approx(known.strengths, abs=1e-9)
    assert found.fit.comparisons == 885
    assert found.influence.sum(axis=0) == pytest.approx(np.zeros(10), abs=1e-8)
    # independent comparisons that the model fits: the sandwich is near the model's own errors
    robust = np.sqrt(np.diag(found.robust_covariance))[:-2]
    assert robust == pytest.approx(known.standard_errors[:-1], rel=0.15)


def test_two_items_have_the_clustered_errors_of_the_delta_method() -> None:
    """θ = log(w / l): each win adds 1/w and each loss −1/l, and ties add nothing."""
    signs = np.repeat([1, -1, 0], [40, 20, 15])
    rng = np.random.default_rng(6)
    groups = clusters(rng.integers(0, 9, 75), rng.integers(0, 20, 75))
    found = fit_comparisons(np.zeros(75, int), np.ones(75, int), signs, groups)
    added = np.where(signs > 0, 1 / 40, np.where(signs < 0, -1 / 20, 0.0))
    lead = found.difference(0, 1)
    assert lead.estimate == pytest.approx(np.log(2))
    assert lead.standard_error == pytest.approx(np.sqrt(two_way_covariance(added, groups)[0, 0]), rel=1e-6)
    assert lead.degrees_of_freedom == 8


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_side_that_is_named_first_and_the_reference_change_no_difference(seed: int) -> None:
    first, second, preference, groups = comparisons(seed)
    here = fit_comparisons(first, second, preference, groups, items="abc")
    there = fit_comparisons(second, first, -preference, groups, items="abc", reference="a")
    one, other = here.difference("a", "b"), there.difference("a", "b")
    assert (one.estimate, one.standard_error, one.p) == pytest.approx((other.estimate, other.standard_error, other.p))
    back = here.difference("b", "a")
    assert (back.low, back.high) == pytest.approx((-one.high, -one.low))
    above = [here.above_average(item) for item in "abc"]
    assert sum(each.estimate for each in above) == pytest.approx(0, abs=1e-9)
    assert above[0].estimate == pytest.approx(there.above_average("a").estimate)
    assert above[0].standard_error == pytest.approx(there.above_average("a").standard_error)


def test_strength_of_a_preference_is_not_used_and_repeated_data_keep_the_clustered_error() -> None:
    first, second, preference, groups = comparisons(4)
    once = fit_comparisons(first, second, preference, groups)
    strong = fit_comparisons(first, second, 2 * preference, groups)
    assert strong.difference(0, 2) == once.difference(0, 2)
    twice = fit_comparisons(
        np.tile(first, 2),
        np.tile(second, 2),
        np.tile(preference, 2),
        clusters(np.tile(groups.evaluator, 2), np.tile(groups.prompt, 2)),
    )
    assert twice.fit.covariance == pytest.approx(once.fit.covariance / 2, rel=1e-6)
    assert twice.robust_covariance == pytest.approx(once.robust_covariance, rel=1e-6)


def test_evaluators_who_lean_make_clustered_errors_larger_than_the_model_s() -> None:
    rng = np.random.default_rng(5)
    person = np.repeat(np.arange(20), 30)
    latent = rng.normal(size=20)[person] * 1.5 + rng.logistic(size=600)
    signs = np.sign(latent) * (np.abs(latent) > 0.5)
    found = fit_comparisons(np.zeros(600, int), np.ones(600, int), signs, clusters(person, np.arange(600) % 60))
    assert found.difference(0, 1).standard_error > 2 * found.fit.standard_errors[0]


def test_comparisons_without_ties_have_no_error_of_log_nu() -> None:
    first, second, preference, groups = comparisons(7)
    sided = preference != 0
    found = fit_comparisons(
        first[sided], second[sided], preference[sided], clusters(groups.evaluator[sided], groups.prompt[sided])
    )
    assert found.fit.log_nu == -np.inf
    assert np.isnan(found.robust_covariance[-1]).all()
    assert found.difference(0, 1).standard_error > 0
    assert np.isfinite(found.robust_covariance[:-1, :-1]).all()


def test_one_evaluator_alone_gives_strengths_and_the_reason_why_no_errors() -> None:
    first, second, preference, groups = comparisons(7)
    found = fit_comparisons(first, second, preference, clusters(np.zeros(300), groups.prompt))
    assert "of one evaluator" in found.difference(0, 1).reason
    assert np.isnan(found.difference(0, 1).low)
    assert np.isfinite(found.difference(0, 1).estimate)
    assert np.isnan(found.robust_covariance).all()


@pytest.mark.parametrize(
    ("first", "second", "preference", "items", "message"),
    [
        ([], [], [], None, "there are no comparisons"),
        ([0, 0], [1, 1], [0, 0], "ab", "every comparison is a tie"),
        ([0, 0], [1, 1], [1, 2], "ab", "lead of 'a' over 'b'"),
        ([0, 1], [1, 2], [1, -1], "ab", "2 is the number of no item; there are 2"),
        ([0, 1], [1, 1], [1, -1], "ab", "'b' is compared with itself"),
        ([0, 1], [1, 0], [1, np.nan], "ab", "needs a preference"),
        ([0, 1], [1], [1, 1], "ab", "lists of one length"),
    ],
)
def test_bad_comparisons_are_named(first: list, second: list, preference: list, items: object, message: str) -> None:
    groups = clusters(range(len(first)), range(len(first)))
    with pytest.raises(DavidsonError, match=message):
        fit_comparisons(first, second, preference, groups, items=items)  # type: ignore[arg-type]


def test_an_item_has_no_lead_over_itself() -> None:
    found = fit_comparisons(*comparisons(1), items="abc")
    with pytest.raises(DavidsonError, match="'a' is compared with itself"):
        found.difference("a", "a")
