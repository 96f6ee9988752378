"""Davidson's tie model against published data, a closed form, another optimiser, and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from evenhand.analysis.davidson import DavidsonError, DavidsonFit, fit_davidson

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
