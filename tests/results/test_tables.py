"""The tables: one definition for page, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.generation.guidance import ClassifierFree
from evenhand.generation.methods.adaptive_projected import AdaptiveProjected
from evenhand.generation.methods.registry import SHIPPED
from evenhand.generation.methods.settings import settings_of
from evenhand.studies.assignment.booklets import build_blocks
from evenhand.studies.criteria import PRESETS, Criterion
from evenhand.studies.models import Study
from evenhand.studies.results.report import study_report
from evenhand.studies.results.tables import MAKERS, numbers, table_of, tables_of
from evenhand.studies.results.tables.table import Cell, Column, Table, escaped
from evenhand.studies.score_names import FAMILIES, OWN_TITLES
from tests.helpers.factories import make_ready_study
from tests.helpers.ratings import invite, rate_booklet


@pytest.fixture
def report(study: Study) -> dict[str, Any]:
    for n, name in enumerate(("ada", "grace", "alan", "joan")):
        rate_booklet(invite(study, name), lambda trial, n=n: (trial.position * (n + 2)) % 5 - 2)  # type: ignore[misc]
    return study_report(study)


def rows_of(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.to_csv())))


def test_the_csv_holds_the_reports_own_numbers(report: dict[str, Any]) -> None:
    rows = rows_of(tables_of(report)["comparisons"])
    assert len(rows) == len(report["comparisons"]) == 2
    for row, each in zip(rows, report["comparisons"], strict=True):
        assert (row["candidate"], row["baseline"]) == (each["candidate_name"], each["baseline_name"])
        assert float(row["net_share"]) == each["net_share"]["estimate"]
        assert float(row["net_share_low"]) == each["net_share"]["low"]
        assert float(row["win_share_high"]) == each["win_share"]["high"]
        assert row["p"] == ""  # the study is open
        found = each["detectable"]["net_share"]
        assert row["detectable_net_share"] == ("" if found is None else str(found))
    assert any(row["detectable_net_share"] for row in rows)


def test_every_table_has_one_cell_a_column_and_can_be_written(report: dict[str, Any]) -> None:
    tables = tables_of(report)
    assert set(MAKERS) - set(tables) == {"equivalence", "sweeps"}
    for name, table in tables.items():
        assert table.name == name
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert all(len(cell.values) == len(column.names) for line in table.lines for column, cell in line)
        heads = next(csv.reader(io.StringIO(table.to_csv())))
        assert len(set(heads)) == len(heads)
        latex = table.to_latex("Shapes")
        body = latex.partition("\\midrule\n")[2].partition("    \\bottomrule")[0].splitlines()
        assert len(body) == len(table.rows)
        assert all(len(re.findall(r"(?<!\\)&", line)) == len(table.columns) - 1 for line in body)
        assert latex.count("{") == latex.count("}")


def test_strata_follow_their_comparison(report: dict[str, Any]) -> None:
    rows = rows_of(tables_of(report)["strata"])
    assert [row["stratum"] for row in rows] == ["all", "high", "middle", "low"] * 2
    assert int(rows[0]["n"]) == sum(int(row["n"]) for row in rows[1:4])


def test_several_criteria_have_a_column_of_their_own(db: None) -> None:
    study = make_ready_study(criteria=(Criterion(), PRESETS["appeal"]))
    build_blocks(study, 2)
    rate_booklet(invite(study, "ada"), lambda trial: trial.position % 3 - 1)
    rows = rows_of(tables_of(study_report(study))["comparisons"])
    assert [row["criterion"] for row in rows] == ["overall"] * 2 + [PRESETS["appeal"].name.replace("_", " ")] * 2


def test_equivalence_is_there_where_the_plan_set_a_margin(db: None) -> None:
    study = make_ready_study(equivalence_margin=30)
    build_blocks(study, 4)
    for n, name in enumerate(("ada", "grace", "alan", "joan")):
        rate_booklet(invite(study, name), lambda trial, n=n: (trial.position * (n + 2)) % 3 - 1)  # type: ignore[misc]
    table = table_of(study_report(study), "equivalence")
    assert table is not None
    assert "within 30 points of zero" in table.says
    assert {row["is_equivalent"] for row in rows_of(table)} == {""}  # told when the study is closed
    Study.objects.filter(pk=study.pk).update(state="closed")
    closed = study_report(Study.objects.get(pk=study.pk))
    rows = rows_of(table_of(closed, "equivalence"))  # type: ignore[arg-type]
    for row, each in zip(rows, closed["comparisons"], strict=True):
        test = each["equivalence"]
        assert row["is_equivalent"] == str(test["is_equivalent"]).upper()
        assert test["is_equivalent"] == (test["low"] > -0.3 and test["high"] < 0.3)


@pytest.mark.parametrize(
    ("chosen", "inner_is_zero", "same", "outer"),
    [
        ((-2, -1, 0, 1, 2), False, False, True),
        ((-2, -1, 1, 2), True, False, True),  # nobody says “no preference”: the inner ones meet at 0
        ((-2, 0, 2), False, True, True),  # nobody says “slightly”: inner and outer ones meet
        ((-1, 0, 1), False, False, False),  # nobody says “strongly”: there is no outer one
        ((-1, 1), True, False, False),
    ],
)
def test_thresholds_stand_in_their_columns_whatever_nobody_chose(
    study: Study, chosen: tuple[int, ...], inner_is_zero: bool, same: bool, outer: bool
) -> None:
    rng = np.random.default_rng(3)
    for name in ("ada", "grace", "alan", "joan", "mary"):
        rate_booklet(invite(study, name), lambda _: int(rng.choice(chosen)))
    report = study_report(study)
    for row, each in zip(rows_of(tables_of(report)["models"]), report["comparisons"], strict=True):
        assert each["cumulative_link"]["categories"] == list(chosen)
        assert (float(row["threshold_1"]) == 0) == inner_is_zero
        assert bool(row["threshold_2"]) == outer
        assert (row["threshold_1"] == row["threshold_2"]) == same
        found = [float(row[name] or "inf") for name in ("threshold_1", "threshold_2")]
        assert found == sorted(found)
        assert max(float(value) for value in found if value < math.inf) == max(each["cumulative_link"]["thresholds"])


@pytest.mark.parametrize(("margin", "text"), [(2.5, "2.5"), (0.04, "0.04"), (7.0, "7"), (12.25, "12.25")])
def test_the_margin_is_written_as_the_plan_has_it(db: None, margin: float, text: str) -> None:
    table = table_of(study_report(make_ready_study(equivalence_margin=margin)), "equivalence")
    assert table is not None
    assert f"within {text} points of zero" in table.says


def test_an_unknown_table_is_none(report: dict[str, Any]) -> None:
    assert table_of(report, "secrets") is None


HOSTILE = r"a_b & 50 % of $x$ #1 {y} ~ ^ \input{/etc/passwd} “w̄” − <b> α…"


def test_text_cannot_leave_its_cell_in_latex() -> None:
    table = Table("t", HOSTILE, "", (Column("a_b", ("x",)),), ((Cell(HOSTILE, (HOSTILE,)),),))
    latex = table.to_latex("a\nnew line")
    assert "\\input" not in latex
    assert "a\\_b \\& 50 \\% of \\$x\\$ \\#1 \\{y\\}" in latex
    assert "$\\bar{w}$" in latex
    assert latex.startswith("% a new line\n")


def test_labels_of_methods_and_titles_of_metrics_come_out_in_ascii() -> None:
    """LaTeX's usual fonts have no Greek outside of formulas."""
    guidances = [*(kind() for kind in SHIPPED), ClassifierFree(rescale=0.7), AdaptiveProjected(momentum=0.0, eta=0.1)]
    told = [
        symbol for kind in SHIPPED for symbol in (kind.short, *(each.symbol for each in settings_of(kind).values()))
    ]
    told += [text for guidance in guidances for text in (guidance.label(), guidance.short_name())]
    told += [*FAMILIES.values(), *OWN_TITLES.values()]
    assert {"w̄", "λ", "β", "η", "σ", "FID∞"} <= set(told)
    assert [text for text in told if not escaped(text).isascii()] == []
    assert (escaped("λ = 0.6"), escaped("τ-b"), escaped("ω")) == (r"$\lambda$ = 0.6", r"$\tau$-b", r"$\omega$")


def test_every_table_of_results_comes_out_in_ascii(report: dict[str, Any]) -> None:
    assert [name for name, table in tables_of(report).items() if not table.to_latex("Shapes").isascii()] == []


@given(st.text(alphabet=r"ab\&%$#_{}~^<>−–“”w̄ "))
def test_escaped_text_has_no_bare_command(text: str) -> None:
    written = escaped(text)
    assert len(re.findall(r"(?<!\\)[&%#_^~]", written.replace("$_1$", "").replace("~", ""))) == 0
    assert written.count("{") - written.count("\\{") == written.count("}") - written.count("\\}")


def test_a_formula_gets_an_apostrophe_in_the_csv() -> None:
    table = Table("t", "T", "", (Column("A", ("a",)),), ((Cell("=1+1", ("=1+1",)),),))
    assert table.to_csv() == "a\n'=1+1\n"


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (numbers.percent, 0.604, "60 %"), (numbers.percent, None, "–"), (numbers.points, 0.123, "+12"),
        (numbers.points, -0.004, "−0.4"), (numbers.points, 0.0004, "0"),
        (numbers.points, -0.12, "−12"), (numbers.signed, 0.3149, "+0.31"),
        (numbers.signed, -0.001, "0.00"), (numbers.plain, -0.25, "−0.25"), (numbers.count, 12000, "12,000"),
        (numbers.p_value, 0.0312, "p = 0.031"), (numbers.p_value, 1e-9, "p < 0.0001"),
        (numbers.p_alone, 1e-9, "< 0.0001"), (numbers.p_alone, None, "–"), (numbers.seconds, 3140.0, "3.1 s"),
        (numbers.size, 0.2534, "25"), (numbers.size, -0.0251, "2.5"), (numbers.size, None, "–"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_people_read_them(write: Any, value: Any, text: str) -> None:
    assert write(value) == text
