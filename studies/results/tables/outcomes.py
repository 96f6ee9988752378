"""The tables of what evaluators preferred: comparisons, criteria and strata, with and without what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evenhand.analysis.preference import CATEGORIES
from evenhand.studies.results.report.wording import answers_in_words
from evenhand.studies.results.tables.numbers import p_alone, percent, plain, points, signed, size, unbroken
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
Result = Mapping[str, Any]
APART = "Nothing compares arms of different groups: scores are to be compared within a group only."
VARIANTS = {
    "as_reported": "as reported",
    "with_unusable_pairs": "with unusable pairs",
    "with_excluded": "with all that is left out",
    "without_flagged": "without flagged answers",
    "without_failed_checks": "without evaluators who failed a check",
}


def sides(report: Report) -> tuple[str, str]:
    """What columns call a comparison's two arms: by their places in its name where not all are with the baseline."""
    return ("Second arm", "First arm") if report["free_comparisons"] else ("Baseline", "Candidate")


def _share_columns(report: Report) -> list[Column]:
    answers = answers_in_words(free=report["free_comparisons"])
    return [Column(answer.capitalize(), (name,)) for answer, name in zip(answers, CATEGORIES, strict=True)]


def several_criteria(report: Report) -> bool:
    """Whether the study asks more than one question."""
    return len(report["criteria"]) > 1


def comparison_columns(report: Report) -> list[Column]:
    """The columns that name a comparison and, where there are several, its criterion."""
    named = [Column("Comparison", ("candidate", "baseline"), number=False)]
    return [*named, Column("Criterion", ("criterion",), number=False)] if several_criteria(report) else named


def comparison_cells(report: Report, result: Result) -> list[Cell]:
    """The cells that do so."""
    names = (result["candidate_name"], result["baseline_name"])
    cells = [Cell(" vs ".join(map(unbroken, names)), names)]
    return [*cells, text(in_words(result["criterion"]))] if several_criteria(report) else cells


def in_words(name: str) -> str:
    """Write the name of a criterion or stratum as words."""
    return name.replace("_", " ")


def comparisons(report: Report) -> Table:
    """Every comparison by every criterion: the net preference, and the p-value for one of several."""
    baseline, candidate = sides(report)
    columns = [
        *comparison_columns(report),
        Column("n", ("n",)),
        Column(candidate, ("candidate_share",)),
        Column(baseline, ("baseline_share",)),
        Column("No preference", ("none_share",)),
        estimate_column("Net, points (95 % interval)", "net_share"),
        estimate_column("Wins and half of the ties", "win_share"),
        estimate_column("Mean preference, −2 to +2", "mean_preference"),
        Column("p", ("p",)),
        Column("p after Holm", ("holm_p",)),
        Column("Detectable, points", ("detectable_net_share",)),
    ]
    return table(
        "comparisons",
        "All comparisons",
        f"Net is the {candidate.lower()}'s share less the {baseline.lower()}'s. Wins count 1 and ties one half: 50 % "
        "is no difference. "
        "Holm's p-value allows for the number of comparisons within a criterion. Detectable is the net preference, in "
        "either direction, that a study with these ratings, evaluators and prompts finds with 80 % power."
        + (" No p-value is shown while the study is open." if report["interim"] else ""),
        columns,
        (
            [
                *comparison_cells(report, each),
                count(each["n"]),
                number(each["candidate_share"], percent),
                number(each["baseline_share"], percent),
                number(each["none_share"], percent),
                estimate(each["net_share"], points),
                estimate(each["win_share"], percent),
                estimate(each["mean_preference"], signed),
                number(each["net_share"]["p"], p_alone),
                number(each["holm"]["adjusted_p"], p_alone),
                number(each["detectable"]["net_share"], size),
            ]
            for each in report["comparisons"]
        ),
    )


def strata(report: Report) -> Table:
    """The five shares of every comparison, in all and by stratum."""
    baseline, candidate = sides(report)
    return table(
        "strata",
        "The five answers, by stratum",
        "A stratum holds the prompts around one percentile of the CLIP score: high, middle or low where there are "
        "three.",
        [
            *comparison_columns(report),
            Column("Prompts", ("stratum",), number=False),
            Column("n", ("n",)),
            *_share_columns(report),
            estimate_column(f"{baseline} in all", "baseline_share"),
            estimate_column(f"{candidate} in all", "candidate_share"),
            estimate_column("Net, points (95 % interval)", "net_share"),
        ],
        (
            [
                *comparison_cells(report, each),
                text(name),
                count(part["n"]),
                *(number(part["shares"][category], percent) for category in CATEGORIES),
                estimate(part["intervals"]["baseline"], percent),
                estimate(part["intervals"]["candidate"], percent),
                estimate(part["intervals"]["net"], points),
            ]
            for each in report["comparisons"]
            for name, part in {"all": each, **each["strata"]}.items()
        ),
    )


def equivalence(report: Report) -> Table | None:
    """The two one-sided tests; None where the plan set no margin."""
    rows = [each for each in report["comparisons"] if each["equivalence"] is not None]
    if not rows:
        return None
    margin = f"{100 * rows[0]['equivalence']['margin']:g}"  # as the plan wrote it: rounded, 0.04 would be 0
    return table(
        "equivalence",
        "Equivalence",
        f"The plan calls two arms equivalent if the net preference lies within {margin} points of zero. They are where "
        "p is below 0.05; the interval of 90 % then lies within the margin.",
        [
            *comparison_columns(report),
            Column("Net, points (90 % interval)", ("net_share", "low", "high")),
            Column("p", ("p",)),
            Column("Equivalent", ("is_equivalent",), number=False),
        ],
        (
            [
                *comparison_cells(report, each),
                estimate(each["equivalence"] | {"estimate": each["net_share"]["estimate"]}, points),
                number(each["equivalence"]["p"], p_alone),
                Cell(_verdict(each["equivalence"]), (each["equivalence"]["is_equivalent"],)),
            ]
            for each in rows
        ),
    )


def _verdict(test: Mapping[str, Any]) -> str:
    if test["reason"]:
        return f"cannot be told: {test['reason']}"
    return {None: "told when the study is closed", True: "yes", False: "not shown"}[test["is_equivalent"]]


def sensitivity(report: Report) -> Table:
    """The headline with and without what is left out or flagged."""
    baseline, candidate = sides(report)
    return table(
        "sensitivity",
        "The headline with and without",
        "A result that holds only in one of these rows depends on who is counted. Flagged are the answers that the CSV "
        "flags: too fast, without a time, seen too small, or of somebody who pressed one key again and again.",
        [
            *comparison_columns(report),
            Column("Counted", ("counted",), number=False),
            Column("Evaluators", ("evaluators",)),
            Column("n", ("n",)),
            Column(candidate, ("candidate_share",)),
            Column(baseline, ("baseline_share",)),
            estimate_column("Net, points (95 % interval)", "net_share"),
        ],
        (
            [
                *comparison_cells(report, each),
                text(VARIANTS[name]),
                count(part["evaluators"]),
                count(part["n"]),
                number(part["candidate_share"], percent),
                number(part["baseline_share"], percent),
                estimate(part["net_share"], points),
            ]
            for each in report["comparisons"]
            for name, part in each["sensitivity"].items()
            if name != "with_unusable_pairs" or report["left_out"]["pairs"]
        ),
    )


def scores(report: Report) -> Table | None:
    """Davidson's scores of every arm; None where there are fewer than three or none could be found."""
    rows = list(_scored(report["criteria"]))
    if not rows:
        return None
    apart = any(score["group"] > 1 for _, score in rows)
    return table(
        "scores",
        "Scores of all arms",
        "Davidson's model puts all arms on one scale, ties included. A score is the logarithm of an arm's strength, "
        "less the mean of all: 0 is average, and an arm with 0.69 more than another beats it twice as often as it "
        "loses to it." + (f" {APART}" if apart else ""),
        [
            *([Column("Criterion", ("criterion",), number=False)] if several_criteria(report) else []),
            Column("Arm", ("arm",), number=False),
            Column("Role", ("role",), number=False),
            *([Column("Group", ("group",))] if apart else []),
            estimate_column("Score (95 % interval)", "score"),
        ],
        (
            [
                *([text(in_words(criterion))] if several_criteria(report) else []),
                text(score["name"]),
                text("baseline" if score["baseline"] else "candidate"),
                *([count(score["group"])] if apart else []),
                estimate(score, signed),
            ]
            for criterion, score in rows
        ),
    )


def _scored(criteria: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for criterion in criteria:
        for score in (criterion["davidson"] or {"scores": []})["scores"]:
            yield criterion["name"], score


def models(report: Report) -> Table:
    """The latent lead of every comparison, from both cumulative-link models."""
    return table(
        "models",
        "Cumulative-link models",
        f"Both models see the five answers as cut from one hidden scale, on which the {sides(report)[1].lower()} "
        "leads by so much; 0 "
        "is no difference. The first is of the population; the second has effects of evaluators and of prompts, "
        "with the standard deviations that are given, and its lead is that of one evaluator and one prompt.",
        [
            *comparison_columns(report),
            estimate_column("Lead (95 % interval)", "lead"),
            Column("Thresholds ± θ₁, ± θ₂", ("threshold_1", "threshold_2")),
            Column("p", ("p",)),
            estimate_column("Lead with random effects", "crossed_lead"),
            Column("Evaluators' σ", ("evaluator_deviation",)),
            Column("Prompts' σ", ("prompt_deviation",)),
        ],
        (_model_row(report, each) for each in report["comparisons"]),
    )


def _model_row(report: Report, result: Result) -> list[Cell]:
    link, crossed = result["cumulative_link"], result["crossed_link"]
    inner, outer = (_threshold_above(link, answer) for answer in (0, 1))
    lead = estimate(link["lead"], signed) if link["converged"] else Cell("not found", (None, None, None))
    mixed = bool(crossed and crossed["converged"])
    return [
        *comparison_cells(report, result),
        lead,
        Cell(f"{plain(inner)}, {plain(outer)}" if link["converged"] else "–", (inner, outer)),
        number(link["lead"]["p"] if link["converged"] else None, p_alone),
        estimate(crossed["lead"], signed) if mixed else Cell("not found" if crossed else "–", (None, None, None)),
        number(crossed["evaluator_deviation"] if mixed else None, plain),
        number(crossed["prompt_deviation"] if mixed else None, plain),
    ]


def _threshold_above(link: Mapping[str, Any], answer: int) -> float | None:
    """The threshold above a preference; None without a model, and where nobody chose a higher one.

    Thresholds part only the categories that were chosen: beside others, two of the scale's four are the same one.
    """
    below = sum(category <= answer for category in link.get("categories", ()))
    thresholds = link.get("thresholds", ())
    return thresholds[below - 1] if 0 < below <= len(thresholds) else None
