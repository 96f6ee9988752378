"""Lay out what metrics say in tables, for the page, for LaTeX and for CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evenhand.studies.results.tables.numbers import NOTHING, percent, plain, unbroken
from evenhand.studies.results.tables.table import (
    Cell,
    Column,
    Table,
    count,
    estimate,
    estimate_column,
    number,
    table,
    text,
)

Report = Mapping[str, Any]
NONE = {"estimate": None, "low": None, "high": None}


def value(x: float | None) -> str:
    """Write a metric's value: four digits below 1, else two after the point; a small one with three digits."""
    if x is None:
        return NOTHING
    if 0 < abs(x) < 0.001:
        return f"{x:.2e}".replace("-", "−")
    return plain(x, 4 if abs(x) < 1 else 2)


def arms(report: Report) -> Table | None:
    """Every arm by every metric (the paper's Table 1)."""
    if not report["metrics"]:
        return None
    shown = report["metrics"]
    lower = [each["title"] for each in shown if not each["higher_is_better"]]
    says = f"Over {report['prompts']['n']:,} prompts, one picture each. " + (
        f"Lower is better for {', '.join(lower)}; higher for the others." if lower else "Higher is better."
    )
    columns = [
        Column("Arm", ("arm",), number=False),
        *(estimate_column(each["title"], each["metric"]) for each in shown),
    ]
    rows = []
    for place, arm in enumerate(report["arms"]):
        cells = [Cell(_arm_in_words(arm), (arm["label"],))]
        for each in shown:
            column = report["distances"].get(each["metric"]) or report["means"][each["metric"]]
            found = column[place]
            cells.append(estimate(found if found and found["estimate"] is not None else NONE, value))
        rows.append(cells)
    return table("arms", "Metrics of all arms", says, columns, rows)


def _arm_in_words(arm: Mapping[str, Any]) -> str:
    return unbroken(arm["name"]) + (" (baseline)" if arm["role"] == "baseline" else "")


def wins(report: Report) -> Table | None:
    """How often each metric prefers an arm's picture to the baseline's (the paper's Table 2)."""
    if not report["wins"]:
        return None
    of_baseline = all(each["baseline"] == 0 for each in report["wins"])
    return table(
        "wins",
        "Wins against the baseline" if of_baseline else "Wins in each comparison",
        f"A picture wins where the metric gives it more than the {'baseline' if of_baseline else 'other arm'}'s "
        "picture of the same prompt and seed; the arm named first wins. The "
        "rate counts a win as 1 and a tie as one half: 50 % is no difference. Intervals take prompts for independent.",
        [
            Column("Metric", ("metric",), number=False),
            Column("Comparison", ("candidate", "baseline"), number=False),
            Column("n", ("n",)),
            Column("Wins", ("wins",)),
            Column("Ties", ("ties",)),
            Column("Losses", ("losses",)),
            estimate_column("Wins and half of the ties", "rate"),
        ],
        (
            [
                text(title_of(report, each["metric"])),
                _comparison(report, each),
                count(each["n"]),
                count(each["wins"]),
                count(each["ties"]),
                count(each["losses"]),
                estimate(each["rate"], percent),
            ]
            for each in report["wins"]
        ),
    )


def _comparison(report: Report, each: Mapping[str, Any]) -> Cell:
    names = tuple(report["arms"][each[role]]["name"] for role in ("candidate", "baseline"))
    return Cell(" vs ".join(map(unbroken, names)), names)


def title_of(report: Report, metric: str) -> str:
    """Return a metric's name in words."""
    return next((each["title"] for each in report["metrics"] if each["metric"] == metric), metric)


def people(report: Report) -> Table | None:
    """How often each metric and people agree, by comparison and stratum."""
    if not report["people"]["rows"]:
        return None
    return table(
        "people",
        "Do the metrics agree with people?",
        "Accuracy: the share of ratings whose side the metric names too. A rating without preference agrees with a "
        "tie: equal scores, or with a tie threshold scores that differ by no more than it. The threshold is chosen on "
        "some prompts and used on others. Beside it stands what a metric gets right that always gives the most "
        "frequent answer. Kendall's τ-b goes from −1 to 1 and is 0 without relation.",
        [
            Column("Metric", ("metric",), number=False),
            Column("Comparison", ("candidate", "baseline"), number=False),
            Column("Prompts", ("stratum",), number=False),
            Column("Pairs", ("pairs",)),
            Column("Ratings", ("ratings",)),
            estimate_column("Accuracy", "accuracy"),
            estimate_column("With a tie threshold", "held_out"),
            Column("Most frequent answer", ("most_common",)),
            estimate_column("τ-b", "tau_b"),
        ],
        (
            [
                text(title_of(report, each["metric"])),
                _comparison(report, each),
                text(each["stratum"].replace("_", " ")),
                count(each["pairs"]),
                count(each["ratings"]),
                estimate(each["accuracy"], percent),
                estimate(each["held_out"], percent),
                number(each["most_common"], percent),
                estimate(each["tau_b"], plain),
            ]
            for each in report["people"]["rows"]
        ),
    )


def sweep(report: Report) -> Table | None:
    """At which strength of classifier-free guidance each metric is best."""
    if not report["sweep"]:
        return None
    strengths = sorted({point["strength"] for each in report["sweep"] for point in each["points"]})
    rows = []
    for each in report["sweep"]:
        at = {point["strength"]: point["value"] for point in each["points"]}
        best = Cell(
            f"{each['best']:g}{', an end of the sweep' if each['at_end'] else ''}", (each["best"], each["at_end"])
        )
        rows.append([text(each["title"]), best, *(number(at.get(strength), value) for strength in strengths)])
    return table(
        "sweep",
        "Strength alone",
        "Metrics that were trained on people's choices are known to rise with the strength of guidance alone. A metric "
        "whose best strength is an end of the sweep may be best beyond it.",
        [
            Column("Metric", ("metric",), number=False),
            Column("Best at w", ("best", "at_end")),
            *(Column(f"w = {strength:g}", (f"w_{strength:g}",)) for strength in strengths),
        ],
        rows,
    )


def effective(report: Report) -> Table | None:
    """How strong each arm was, by iteration."""
    if not report["effective"]:
        return None
    iterations = sorted({point["iteration"] for each in report["effective"] for point in each["points"]})
    rows = []
    for each in report["effective"]:
        at = {point["iteration"]: point for point in each["points"]}
        name = text(unbroken(report["arms"][each["arm"]]["name"]))
        for what, key, write in (("ω", "omega", plain), ("new direction", "across", percent)):
            values = [at.get(iteration, {}).get(key) for iteration in iterations]
            rows.append([name, text(what), count(each["n"]), *(number(found, write) for found in values)])
    return table(
        "effective",
        "Effective strength",
        "ω is the strength of classifier-free guidance that an arm's step has along the text's own direction; plain "
        "guidance of strength w has 1 + w. New direction is the share of the step that lies across it. Medians over "
        "pictures, by iteration.",
        [
            Column("Arm", ("arm",), number=False),
            Column("", ("what",), number=False),
            Column("Pictures", ("n",)),
            *(Column(str(iteration), (f"iteration_{iteration}",)) for iteration in iterations),
        ],
        rows,
    )


MAKERS: dict[str, Callable[[Report], Table | None]] = {
    make.__name__: make for make in (arms, wins, people, sweep, effective)
}


def tables_of(report: Report) -> dict[str, Table]:
    """Return every table that the report fills, by name."""
    made = {name: make(report) for name, make in MAKERS.items()}
    return {name: found for name, found in made.items() if found is not None}


def table_of(report: Report, name: str) -> Table | None:
    """Return one table; None for an unknown name, and for one that the report does not fill."""
    return MAKERS[name](report) if name in MAKERS else None
