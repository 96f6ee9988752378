"""Compute Davidson's scores of all arms of a study from all of its comparisons by one criterion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evenhand.analysis.davidson import DavidsonError, fit_tallied
from evenhand.analysis.tallies import rated_again, table, tally_of_tables
from evenhand.studies.models import Comparison
from evenhand.studies.results.report.comparison import interval
from evenhand.studies.results.report.ratings import Ratings

FEWEST_ARMS = 3


def davidson_scores(
    ratings: Ratings, comparisons: Sequence[Comparison], names: Mapping[int, str], interim: bool
) -> dict[str, Any] | None:
    """Score three or more arms on one scale; None for fewer.

    A score is the logarithm of a strength less the mean of all arms' (Davidson 1970). ``ratings`` are of one criterion
    and of all comparisons.
    """
    arms = list(dict.fromkeys(arm.pk for each in comparisons for arm in (each.baseline, each.candidate)))
    if len(arms) < FEWEST_ARMS:
        return None
    baselines = {each.baseline.pk for each in comparisons}
    place = {pk: i for i, pk in enumerate(arms)}
    sign = np.sign(ratings.preference).astype(np.intp)
    category, count = 3 * ratings.comparison + sign + 1, 3 * len(comparisons)
    groups = tally_of_tables(
        table(category, count, ratings.evaluator),
        table(category, count, ratings.prompt),
        again=np.zeros((0, count)) if ratings.once else rated_again(category, count, ratings.evaluator, ratings.prompt),
    )
    labels = tuple(names[pk] for pk in arms)
    told: dict[str, Any] = {"n": groups.n, "converged": False, "reason": "", "scores": []}
    try:
        fit = fit_tallied(
            np.repeat([place[each.candidate.pk] for each in comparisons], 3),
            np.repeat([place[each.baseline.pk] for each in comparisons], 3),
            np.tile([-1, 0, 1], len(comparisons)),
            groups,
            items=labels,
        )
    except DavidsonError as error:
        return told | {"reason": str(error)}
    scores = [
        {"name": name, "baseline": pk in baselines, **interval(fit.above_average(name), interim=True)}
        for pk, name in zip(arms, labels, strict=True)
    ]
    ties = float(np.exp(fit.fit.log_nu))
    differences = [
        {
            "candidate": names[each.candidate.pk],
            "baseline": names[each.baseline.pk],
            **interval(fit.difference(names[each.candidate.pk], names[each.baseline.pk]), interim),
        }
        for each in comparisons
    ]
    return told | {"converged": True, "scores": scores, "differences": differences, "ties": ties}
