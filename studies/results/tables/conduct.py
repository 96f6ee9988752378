"""The tables of how the ratings came about: evaluators, agreement, checks, sides, times, variance, exclusions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenhand.studies.results.tables.numbers import percent, plain, seconds, signed
from evenhand.studies.results.tables.outcomes import comparison_cells, comparison_columns
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


def agreement(report: Report) -> Table:
    """How far evaluators agree about each pair."""
    return table(
        "agreement",
        "Agreement of evaluators",
        "α is 1 where evaluators of one pair always answer alike, and 0 where they agree no more than by chance. AC2 "
        "measures the same and depends less on how often each answer is given. Only pairs that were rated twice "
        "tell of it.",
        [
            *comparison_columns(report),
            estimate_column("Krippendorff's α, ordinal (95 % interval)", "alpha"),
            Column("Pairs rated twice or more", ("rated_twice", "pairs")),
            Column("Same answer", ("percent",)),
            Column("Same side", ("percent_side",)),
            Column("Gwet's AC2", ("ac2",)),
        ],
        (
            [
                *comparison_cells(report, each),
                estimate(each["agreement"] | {"estimate": each["agreement"]["alpha"]}, plain),
                Cell(
                    f"{each['agreement']['rated_twice']:,} of {each['agreement']['units']:,}",
                    (each["agreement"]["rated_twice"], each["agreement"]["units"]),
                ),
                number(each["agreement"]["percent"], percent),
                number(each["agreement"]["percent_side"], percent),
                number(each["agreement"]["ac2"], plain),
            ]
            for each in report["comparisons"]
        ),
    )


def sides(report: Report) -> Table:
    """Whether choices lean to one side of the screen."""
    rows: list[tuple[str, Mapping[str, Any]]] = [
        (
            f"{each['candidate_name']} vs {each['baseline_name']}: {each['criterion'].replace('_', ' ')}",
            each["side_bias"],
        )
        for each in report["comparisons"]
    ]
    rows += [(f"all: {each['name'].replace('_', ' ')}", each["side_bias"]) for each in report["criteria"]]
    return table(
        "sides",
        "Side of the screen",
        "The sides are drawn at random, so that without a bias the right picture is chosen in half of the answers "
        "for a side, whatever it shows.",
        [
            Column("Answers", ("answers",), number=False),
            Column("For a side", ("n",)),
            estimate_column("Right picture chosen (95 % interval)", "right_share"),
            estimate_column("Mean choice, −2 left to +2 right", "mean_choice"),
        ],
        (
            [text(name), count(each["n"]), estimate(each["right"], percent), estimate(each["mean"], signed)]
            for name, each in rows
        ),
    )


def times(report: Report) -> Table:
    """How long answers took."""
    rows = [
        *(
            (
                f"{each['candidate_name']} vs {each['baseline_name']}: {each['criterion'].replace('_', ' ')}",
                each["time"],
            )
            for each in report["comparisons"]
        ),
        ("all", report["time"]),
    ]
    return table(
        "times",
        "Time to an answer",
        f"From both pictures being visible to the answer, as the page measured it. Half of the answers lie between the "
        f"quartiles. Fast is under {report['time']['fast_ms']} ms, in which nobody sees two pictures.",
        [
            Column("Answers", ("answers",), number=False),
            Column("With a time", ("n",)),
            Column("Without", ("unknown",)),
            Column("Lower quartile", ("low_quartile_ms",)),
            Column("Median", ("median_ms",)),
            Column("Upper quartile", ("high_quartile_ms",)),
            Column("Fast", ("fast_share",)),
        ],
        (
            [
                text(name),
                count(each["n"]),
                count(each["unknown"]),
                number(each["low_quartile_ms"], seconds),
                number(each["median_ms"], seconds),
                number(each["high_quartile_ms"], seconds),
                number(each["fast_share"], percent),
            ]
            for name, each in rows
        ),
    )


def variance(report: Report) -> Table:
    """What makes ratings differ: evaluators, prompts and the rest."""
    return table(
        "variance",
        "What makes ratings differ",
        "Parts of the variance of the preference, −2 to +2. A correlation of evaluators of 0.1 says that a tenth of "
        "it is due to who rates: more evaluators then help more than more ratings by the same ones.",
        [
            *comparison_columns(report),
            Column("Evaluators", ("evaluator",)),
            Column("Prompts", ("prompt",)),
            Column("Rest", ("residual",)),
            Column("Correlation by evaluator", ("evaluator_correlation",)),
            Column("Correlation by prompt", ("prompt_correlation",)),
        ],
        (
            [
                *comparison_cells(report, each),
                *(
                    number(each["variance"][name], plain)
                    for name in ("evaluator", "prompt", "residual", "evaluator_correlation", "prompt_correlation")
                ),
            ]
            for each in report["comparisons"]
        ),
    )


def checks(report: Report) -> Table:
    """Attention checks and repeated pairs."""
    passed, repeats = report["checks"], report["repeats"]
    return table(
        "checks",
        "Attention checks and repeated pairs",
        "Pressed at random, a check is passed in 40 % of cases, and a repeated pair agrees with its first answer in "
        "36 %.",
        [
            Column("What", ("what",), number=False),
            Column("n", ("n",)),
            estimate_column("Share (95 % interval)", "share"),
        ],
        [
            [text("attention checks passed"), count(passed["n"]), estimate(passed["pass_rate"], percent)],
            [
                text("repeated pairs answered for the same side"),
                count(repeats["n"]),
                estimate(repeats["same_side"], percent),
            ],
        ],
    )


def evaluators(report: Report) -> Table:
    """Every evaluator who has answered something."""
    return table(
        "evaluators",
        "Evaluators",
        "The names are those of the CSV; they open nothing.",
        [
            Column("Evaluator", ("evaluator", "simulated"), number=False),
            Column("n", ("n",)),
            Column("Mean preference, −2 to +2", ("mean_preference",)),
            Column("No preference", ("none_share",)),
            Column("Median time", ("median_ms",)),
            Column("Checks passed", ("checks_passed", "checks")),
            Column("Repeats alike", ("repeats_same", "repeats")),
            Column("Flags", ("flags",), number=False),
            Column("Left out", ("left_out",), number=False),
        ],
        (
            [
                Cell(
                    each["evaluator"] + (" (simulated)" if each["simulated"] else ""),
                    (each["evaluator"], each["simulated"]),
                ),
                count(each["n"]),
                number(each["mean_preference"], signed),
                number(each["none_share"], percent),
                number(each["median_ms"], seconds),
                _out_of(each["checks_passed"], each["checks"]),
                _out_of(each["repeats_same"], each["repeats"]),
                text("; ".join(each["flags"])),
                text(each["left_out"]),
            ]
            for each in report["people"]
        ),
    )


def _out_of(part: int, whole: int) -> Cell:
    return Cell(f"{part} of {whole}" if whole else "–", (part, whole))


def exclusions(report: Report) -> Table:
    """Why evaluators, answers and pairs are left out."""
    left_out = report["left_out"]
    rows = [("evaluators", each) for each in left_out["reasons"]]
    rows += [("single answers", each) for each in left_out["rating_reasons"]]
    rows += [("unusable pairs", each) for each in left_out["pair_reasons"]]
    return table(
        "exclusions",
        "Left out",
        "Exclusions are made by the study's admin, with a reason; nothing is deleted.",
        [
            Column("What", ("what",), number=False),
            Column("Reason", ("reason",), number=False),
            Column("Number", ("n",)),
        ],
        ([text(what), text(each["reason"]), count(each["n"])] for what, each in rows),
    )


def changes(report: Report) -> Table:
    """What changed after the study was closed."""
    return table(
        "changes",
        "Changes after closing",
        "Results before and after such a change differ; whoever cites them names the date.",
        [
            Column("When (UTC)", ("at",), number=False),
            Column("What", ("change",), number=False),
            Column("Evaluator or pair", ("evaluator",), number=False),
            Column("Of", ("of",), number=False),
            Column("Reason", ("reason",), number=False),
        ],
        (
            [text(each[name]) for name in ("at", "change", "evaluator", "of", "reason")]
            for each in report["changes_after_closing"]
        ),
    )
