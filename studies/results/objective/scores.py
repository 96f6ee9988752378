"""Read the scores of single pictures into arrays: for each metric a table of prompts by arms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evenhand.studies.arm_recipes import made_for
from evenhand.studies.arms import arms_of, comparisons_of
from evenhand.studies.chosen_prompts import prompts_of, seed_from
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Arm, ImageScore, Scoring, Study
from evenhand.studies.score_names import NOT_FINITE, ONE_COLOUR, SAFETY

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scope:
    """What is reported: a study's arms, and which of its prompts.

    arms: the baseline, the candidates, then those that a scoring added; own: how many are the study's. couples: places
    of candidate and baseline of each comparison. scoring: whose distances stand beside; None where only the
    preparation has scored.
    """

    study: Study
    arms: tuple[Arm, ...]
    prompts: str
    own: int
    couples: tuple[tuple[int, int], ...]
    scoring: Scoring | None = None


@dataclass(frozen=True, eq=False)
class PictureScores:
    """Scores of pictures by metric, float64 (prompts, arms), NaN where there is none, and the marks of odd pictures.

    prompts: primary keys, the rows. odd: for each mark the prompts' indices by arm.
    """

    prompts: NDArray[np.int64]
    values: dict[str, Floats]
    odd: dict[str, dict[int, list[int]]]


def scope_of(study: Study, scoring: Scoring | None) -> Scope:
    """Return the scope of a scoring, or of the preparation's own scores: the final subset."""
    comparisons = comparisons_of(study)
    arms = {arm.pk: arm for arm in arms_of(study)}
    own = len(arms)
    if scoring is not None:
        others = [pk for pk in scoring.plan["arms"] if pk not in arms]
        found = Arm.objects.in_bulk(others)
        arms |= {pk: found[pk] for pk in others}
    places = {pk: place for place, pk in enumerate(arms)}
    couples = tuple((places[each.candidate_id], places[each.baseline_id]) for each in comparisons)
    prompts = scoring.plan["prompts"] if scoring is not None else "final"
    return Scope(study, tuple(arms.values()), prompts, own, couples, scoring)


def read_scores(scope: Scope) -> PictureScores:
    """Read all scores of a scope's pictures in two queries."""
    study, configuration = scope.study, configuration_of(scope.study)
    prompts = {
        pk: (row, index, seed_from(seed, index, configuration))
        for row, (pk, index, seed) in enumerate(prompts_of(study, scope.prompts).values_list("pk", "index", "seed"))
    }
    columns = {arm.pk: column for column, arm in enumerate(scope.arms)}
    values: dict[str, Floats] = defaultdict(lambda: np.full((len(prompts), len(columns)), np.nan))
    odd: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    rows = (
        ImageScore.objects.filter(
            made_for(study, "image__"),
            image__prompt__in=prompts_of(study, scope.prompts).order_by().values("pk"),
            image__arm__in=list(columns),
        )
        .exclude(metric__startswith=SAFETY)
        .values_list("metric", "image__prompt", "image__arm", "image__seed", "value")
    )
    for metric, prompt, arm, seed, value in rows.iterator(chunk_size=5000):
        if arm is None or seed != prompts[prompt][2]:
            continue
        if metric == ONE_COLOUR or metric.startswith(NOT_FINITE):
            odd[metric][arm].append(prompts[prompt][1])
        else:
            values[metric][prompts[prompt][0], columns[arm]] = value
    return PictureScores(np.array(list(prompts), np.int64), dict(sorted(values.items())), dict(odd))


def listed(numbers: Sequence[int], most: int = 5) -> str:
    """Name at most ``most`` prompts by index, ascending: “3, 17 and 2 more”."""
    ascending = sorted(numbers)
    rest = len(ascending) - most
    return ", ".join(map(str, ascending[:most])) + (f" and {rest} more" if rest > 0 else "")
