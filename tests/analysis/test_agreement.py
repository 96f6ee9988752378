"""Krippendorff's α against his own table, the definition written out, and what must not change it."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from evenhand.analysis.agreement import AgreementError, krippendorff_alpha

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
