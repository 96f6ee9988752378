"""Compute Davidson's scores of all arms of a study from all of its comparisons by one criterion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evenhand.analysis.davidson import DavidsonError, fit_tallied
from evenhand.analysis.tallies import rated_again, table, tally_of_tables
from evenhand.studies.comparisons import parts
from evenhand.studies.models import Comparison
from evenhand.studies.results.report.comparison import interval
from evenhand.studies.results.report.ratings import Ratings

FEWEST_ARMS = 3


def davidson_scores(
    ratings: Ratings,
    comparisons: Sequence[Comparison],
    names: Mapping[int, str],
    interim: bool,
    *,
    baseline: int | None = None,
) -> dict[str, Any] | None:
    """Score three or more arms on one scale; None for fewer. ``ratings`` are of one criterion and all comparisons.

    A score is the logarithm of a strength less the mean of all arms' (Davidson 1970). Where no chain of comparisons
    connects all arms, each connected group has a scale of its own, and ``reason`` says so. baseline: an arm's number in
    the database, which is marked.
    """
    arms = list(dict.fromkeys(arm for each in comparisons for arm in (each.baseline_id, each.candidate_id)))
    if len(arms) < FEWEST_ARMS:
        return None
    groups = parts([(each.baseline_id, each.candidate_id) for each in comparisons])
    found = [_scores_of_group(group, ratings, comparisons, names, interim) for group in groups]
    told: dict[str, Any] = {
        "n": len(ratings),
        "converged": all(each["converged"] for each in found),
        "groups": [[names[arm] for arm in group] for group in groups],
        "reason": _reason(groups, found, names),
        "scores": [
            {"name": names[arm], "baseline": arm == baseline, "group": number, **score}
            for number, each in enumerate(found, 1)
            for arm, score in each["scores"].items()
        ],
    }
    if any(each["converged"] for each in found):
        told |= {
            "differences": [difference for each in found for difference in each["differences"]],
            "ties": found[0]["ties"] if len(found) == 1 else [each["ties"] for each in found],
        }
    return told


def _reason(groups: Sequence[Sequence[int]], found: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> str:
    """Say why arms have no scores, or why their scores have no scale in common."""
    reasons = [each["reason"] for each in found if each["reason"]]
    if len(groups) > 1:
        apart = "; ".join(", ".join(names[arm] for arm in group) for group in groups)
        reasons.insert(0, f"no chain of comparisons connects all arms, so each group has a scale of its own ({apart})")
    return "; ".join(reasons)


def _scores_of_group(
    arms: Sequence[int], ratings: Ratings, comparisons: Sequence[Comparison], names: Mapping[int, str], interim: bool
) -> dict[str, Any]:
    """Fit one connected group of arms; ``scores`` by arm, empty where the fit has a ``reason`` not to exist."""
    own = [each for each in comparisons if each.baseline_id in arms]
    if len(own) < len(comparisons):
        number = np.zeros(len(comparisons), np.intp)
        number[[each.position for each in own]] = np.arange(len(own))
        ratings = ratings.where(np.isin(ratings.comparison, [each.position for each in own]))
        comparison = number[ratings.comparison]
    else:
        comparison = ratings.comparison
    place = {arm: i for i, arm in enumerate(arms)}
    category, count = 3 * comparison + np.sign(ratings.preference).astype(np.intp) + 1, 3 * len(own)
    groups = tally_of_tables(
        table(category, count, ratings.evaluator),
        table(category, count, ratings.prompt),
        again=np.zeros((0, count)) if ratings.once else rated_again(category, count, ratings.evaluator, ratings.prompt),
    )
    labels = tuple(names[arm] for arm in arms)
    told: dict[str, Any] = {"converged": False, "reason": "", "scores": {}, "differences": [], "ties": None}
    try:
        fit = fit_tallied(
            np.repeat([place[each.candidate_id] for each in own], 3),
            np.repeat([place[each.baseline_id] for each in own], 3),
            np.tile([-1, 0, 1], len(own)),
            groups,
            items=labels,
        )
    except DavidsonError as error:
        return told | {"reason": str(error)}
    differences = [
        {
            "candidate": names[each.candidate_id],
            "baseline": names[each.baseline_id],
            **interval(fit.difference(names[each.candidate_id], names[each.baseline_id]), interim),
        }
        for each in own
    ]
    return told | {
        "converged": True,
        "scores": {arm: interval(fit.above_average(names[arm]), interim=True) for arm in arms},
        "differences": differences,
        "ties": float(np.exp(fit.fit.log_nu)),
    }
