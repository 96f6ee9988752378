"""Hold metrics against people's answers, pair by pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenhand.analysis.clustered import Estimate
from evenhand.analysis.metric_agreement import metric_agreement
from evenhand.studies.results.objective.scores import PictureScores, Scope
from evenhand.studies.results.report.people import behaviour_of
from evenhand.studies.results.report.ratings import Ratings
from evenhand.studies.results.report.records import read_records
from evenhand.studies.results.report.study import main_ratings, population_and_mark

ALL = "all"


@dataclass(frozen=True, eq=False)
class _People:
    """What people of one population said by the primary criterion.

    prompts: primary keys, in the order in which ``ratings`` numbers them.
    """

    ratings: Ratings
    prompts: NDArray[np.int64]
    strata: tuple[str, ...]
    criterion: str
    mark: str


def agreement_with_people(scope: Scope, scores: PictureScores, population: str | None) -> dict[str, Any]:
    """Return for each metric, comparison and stratum how the metric and people agree, and the pairs' points.

    rows: the numbers. points: of each metric and comparison, difference of scores and mean preference of every pair.
    """
    people = _read(scope, population)
    rows, points = [], []
    for metric, table in scores.values.items():
        for place, (candidate, baseline) in enumerate(scope.couples):
            ratings = people.ratings.where(people.ratings.comparison == place)
            difference = _differences(scores.prompts, table[:, candidate] - table[:, baseline], people.prompts)
            named = {"metric": metric, "candidate": candidate, "baseline": baseline}
            rows += [
                named | {"stratum": stratum} | _row(part, difference)
                for stratum, part in _parts(ratings, people.strata)
            ]
            points.append(named | {"comparison": place + 1, "pairs": _points(ratings, difference)})
    return {
        "criterion": people.criterion,
        "mark": people.mark,
        "n": len(people.ratings),
        "rows": rows,
        "points": points,
    }


def _read(scope: Scope, population: str | None) -> _People:
    records = read_records(scope.study)
    everybody = main_ratings(records, behaviour_of(records))
    chosen, mark = population_and_mark(records, everybody, population)
    ratings = everybody.where(records.people.of(chosen)[everybody.evaluator])
    names = [criterion.name for criterion in records.configuration.criteria]
    criterion = records.configuration.primary_criterion or names[0]
    return _People(
        ratings=ratings.where(ratings.counts & (ratings.criterion == names.index(criterion))),
        prompts=records.pairs.prompts,
        strata=records.pairs.strata,
        criterion=criterion,
        mark=mark,
    )


def _differences(
    known: NDArray[np.int64], differences: NDArray[np.float64], wanted: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the difference of each wanted prompt; NaN where the metric has none."""
    of_prompt = dict(zip(known.tolist(), differences.tolist(), strict=True))
    return np.array([of_prompt.get(prompt, np.nan) for prompt in wanted.tolist()])


def _parts(ratings: Ratings, strata: tuple[str, ...]) -> Iterator[tuple[str, Ratings]]:
    """Yield all ratings, and those of each stratum where there are several."""
    yield ALL, ratings
    for number, stratum in enumerate(strata if len(strata) > 1 else ()):
        yield stratum, ratings.where(ratings.stratum == number)


def _row(ratings: Ratings, difference: NDArray[np.float64]) -> dict[str, Any]:
    found = metric_agreement(
        difference[ratings.prompt], ratings.preference, ratings.prompt, evaluators=ratings.evaluator
    )
    return {
        "pairs": len(np.unique(ratings.prompt[np.isfinite(difference[ratings.prompt])])),
        "ratings": found.rows,
        "left_out": len(found.left_out),
        "most_common": found.most_common,
        "accuracy": _plain(found.accuracy),
        "threshold": found.calibrated.threshold,
        "held_out": _plain(found.calibrated.held_out),
        "tau_b": _plain(found.tau),
    }


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {"estimate": estimate.estimate, "low": estimate.low, "high": estimate.high, "reason": estimate.reason}


def _points(ratings: Ratings, difference: NDArray[np.float64]) -> list[list[float]]:
    """Return difference of scores, mean preference and number of ratings of each rated pair with scores."""
    counts = np.bincount(ratings.prompt, minlength=len(difference))
    sums = np.bincount(ratings.prompt, ratings.preference.astype(np.float64), minlength=len(difference))
    rated = np.flatnonzero((counts > 0) & np.isfinite(difference))
    return [[float(difference[i]), float(sums[i] / counts[i]), int(counts[i])] for i in rated.tolist()]
