"""Compute what metrics say of a study's arms, as plain JSON for the page and its files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from django.utils import timezone
from numpy.typing import NDArray
from scipy import stats

from evenhand.analysis.clustered import LEVEL
from evenhand.generation.guidance import ClassifierFree
from evenhand.studies.models import Arm, ArmScore, Scoring, Study
from evenhand.studies.results.objective.effective import effective_strengths_of
from evenhand.studies.results.objective.people import agreement_with_people
from evenhand.studies.results.objective.scores import PictureScores, Scope, listed, read_scores, scope_of
from evenhand.studies.results.objective.wins import wins_of
from evenhand.studies.results.report import short_names
from evenhand.studies.results.report.study import plain
from evenhand.studies.score_names import NOT_FINITE, ONE_COLOUR, in_words

SWEEP = 3  # strengths that make a sweep


def objective_report(study: Study, scoring: Scoring | None = None, *, population: str | None = None) -> dict[str, Any]:
    """Return the metrics of a study's arms, over a scoring's prompts or else over the final subset.

    Shares, scores and intervals are plain numbers; what cannot be computed is null, with its reason beside it.
    """
    scope = scope_of(study, scoring)
    scores = read_scores(scope)
    names = short_names(scope.arms)
    distances = _distances(scope)
    wins = wins_of(scope, scores)
    report = {
        "study": study.name,
        "version_hash": study.current_version.sha256 if study.current_version else "",
        "computed": timezone.now().isoformat(timespec="seconds"),
        "scoring": _plan_of(scoring),
        "prompts": {"which": scope.prompts, "n": len(scores.prompts)},
        "level": LEVEL,
        "arms": [_arm(arm, names[arm.pk], place, scope) for place, arm in enumerate(scope.arms)],
        "metrics": [_named(metric) for metric in (*distances, *scores.values)],
        "distances": distances,
        "means": {metric: [_mean(column) for column in table.T] for metric, table in scores.values.items()},
        "wins": wins,
        "people": agreement_with_people(scope, scores, population),
        "effective": effective_strengths_of(scope),
        "sweep": _sweep(scope, scores, distances, wins),
        "notes": _notes(scope, scores, names, distances),
    }
    found: dict[str, Any] = plain(report)
    return found


def _plan_of(scoring: Scoring | None) -> dict[str, Any] | None:
    if scoring is None:
        return None
    plan = {key: value for key, value in scoring.plan.items() if key != "arms"}
    return {
        "number": scoring.pk,
        "at": scoring.created_at.isoformat(timespec="seconds"),
        "by": str(scoring.created_by or "a command"),
        "evaluations": scoring.evaluations,
        **plan,
    }


def _arm(arm: Arm, name: str, place: int, scope: Scope) -> dict[str, Any]:
    role = "baseline" if place == 0 else "candidate" if place < scope.own else "beside"
    return {"label": arm.label, "name": name, "role": role, "guidance": arm.guidance}


def _named(metric: str) -> dict[str, Any]:
    name = in_words(metric)
    return {"metric": metric, "title": name.title, "higher_is_better": name.higher_is_better}


def _mean(column: NDArray[np.float64]) -> dict[str, Any]:
    """Return the mean of the finite scores of one arm with Student's interval over its prompts."""
    values = column[np.isfinite(column)]
    n = len(values)
    if not n:
        return {"n": 0, "estimate": None, "sd": None, "low": None, "high": None}
    mean, spread = float(values.mean()), float(values.std(ddof=1)) if n > 1 else math.nan
    reach = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * spread / math.sqrt(n) if n > 1 and spread else math.nan
    return {"n": n, "estimate": mean, "sd": spread, "low": mean - reach, "high": mean + reach}


def _distances(scope: Scope) -> dict[str, list[dict[str, Any] | None]]:
    """Return each measure of all pictures of an arm, in the order of the arms; None for an arm without it."""
    if scope.scoring is None:
        return {}
    places = {arm.pk: place for place, arm in enumerate(scope.arms)}
    found: dict[str, list[dict[str, Any] | None]] = {}
    for row in ArmScore.objects.filter(scoring=scope.scoring):
        column = found.setdefault(row.metric, [None] * len(places))
        column[places[row.arm_id]] = {
            "estimate": row.value,
            "low": row.low,
            "high": row.high,
            "n": row.n,
            "detail": row.detail,
        }
    return dict(sorted(found.items()))


# ------------------------------------------------------------------------------ a sweep of strengths


def arms_of_sweep(arms: Sequence[Arm]) -> list[tuple[float, int]]:
    """Return strength and place of the arms of a sweep, ascending; of one strength the first arm.

    They are classifier-free guidance with the negative prompt that a scoring gives its own arms of a sweep, that of a
    classifier-free baseline or else none, and with no other setting changed.
    """
    baseline = arms[0].to_guidance() if arms else None
    negative = baseline.negative_prompt if isinstance(baseline, ClassifierFree) else ""
    found: dict[float, int] = {}
    for place, arm in enumerate(arms):
        guidance = arm.to_guidance()
        if not isinstance(guidance, ClassifierFree):
            continue
        if guidance == ClassifierFree(guidance.strength, negative_prompt=negative):
            found.setdefault(guidance.strength, place)
    return sorted(found.items())


def _sweep(
    scope: Scope,
    scores: PictureScores,
    distances: Mapping[str, Sequence[Mapping[str, Any] | None]],
    wins: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Say for each metric at which strength of classifier-free guidance it is best, where there are several."""
    placed = arms_of_sweep(scope.arms)
    if len(placed) < SWEEP:
        return []
    columns: dict[str, list[float | None]] = {
        metric: [None if each is None else float(each["estimate"]) for each in found]
        for metric, found in distances.items()
    }
    for metric, table in scores.values.items():
        columns[metric] = [_mean(column)["estimate"] for column in table.T]
    found = [_peak(metric, in_words(metric).title, placed, column) for metric, column in columns.items()]
    for metric in scores.values:
        rates = {
            each["candidate"]: each["rate"]["estimate"]
            for each in wins
            if (each["metric"], each["baseline"]) == (metric, 0)
        }
        shares = [rates.get(place) for place in range(len(scope.arms))]
        found.append(_peak(metric, f"{in_words(metric).title}, wins against the baseline", placed, shares, up=True))
    return [each for each in found if each is not None]


def _peak(
    metric: str,
    title: str,
    placed: Sequence[tuple[float, int]],
    column: Sequence[float | None],
    *,
    up: bool | None = None,
) -> dict[str, Any] | None:
    points = [(strength, value) for strength, place in placed if (value := column[place]) is not None]
    if len(points) < SWEEP:
        return None
    higher = in_words(metric).higher_is_better if up is None else up
    best = max(points, key=lambda point: point[1] if higher else -point[1])
    ends = (points[0][0], points[-1][0])
    return {
        "metric": metric,
        "title": title,
        "higher_is_better": higher,
        "points": [{"strength": strength, "value": value} for strength, value in points],
        "best": best[0],
        "at_end": best[0] in ends,
    }


# ------------------------------------------------------------------------------ what a reader must know


def _notes(
    scope: Scope,
    scores: PictureScores,
    names: Mapping[int, str],
    distances: Mapping[str, Sequence[Mapping[str, Any] | None]],
) -> list[str]:
    """Say what limits the numbers: odd pictures, missing scores, few pictures, findings of the reading."""
    notes = []
    for mark, by_arm in sorted(scores.odd.items()):
        for arm, prompts in by_arm.items():
            count = len(prompts)
            pictures = f"{count:,} picture{'' if count == 1 else 's'} of {names[arm]}"
            if mark == ONE_COLOUR:
                notes.append(f"{pictures} {'is' if count == 1 else 'are'} of one colour (prompts {listed(prompts)}).")
            else:
                metric = in_words(mark.removeprefix(f"{NOT_FINITE}:")).title
                notes.append(f"{metric} is not finite for {pictures} (prompts {listed(prompts)}); left out.")
    total = len(scores.prompts)
    for metric, table in scores.values.items():
        for place, missing in enumerate(np.isnan(table).sum(axis=0).tolist()):
            if missing:
                name = names[scope.arms[place].pk]
                notes.append(f"{in_words(metric).title}: {missing:,} of {total:,} pictures of {name} have none.")
    notes += _distance_notes(distances)
    return notes


def _distance_notes(distances: Mapping[str, Sequence[Mapping[str, Any] | None]]) -> list[str]:
    found = [each for metric in distances.values() for each in metric if each is not None]
    told = dict.fromkeys(
        sentence
        for each in found
        for part in ("warnings", "findings", "reference_findings")
        for sentence in each["detail"].get(part, [])
        if not sentence.startswith("Of one colour")
    )
    return list(told)
