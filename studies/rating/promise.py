"""Tell a person before the consent how many pairs will come and how long they take."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from operator import itemgetter

from django.core.cache import cache

from evenhand.studies.assignment.reassignment import trials_left_behind
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Rating, Study, Trial
from evenhand.studies.rating.enrolment import booklets_of_kind, free_booklets, quota_for
from evenhand.studies.unusable_pairs import marks_in_force

SECONDS_PER_TRIAL = 12  # first estimate, until enough was measured
ENOUGH_ANSWERS, ENOUGH_PEOPLE = 100, 5  # either is enough
ANSWERS_READ = 2000  # the latest
CACHED_SECONDS = 60


@dataclass(frozen=True)
class Promise:
    """What will come. ``pairs``: showings of two pictures, practice left out; ``minutes``: at least 1."""

    pairs: int
    at_most: bool  # the number may be smaller, because others come at the same time
    minutes: int


@dataclass(frozen=True)
class Pace:
    """How fast a study's people are, in seconds: from the consent to the first answer, and from answer to answer."""

    first: float
    each: float

    def minutes(self, answers: int) -> int:
        """Return the whole minutes that so many answers take, at least 1."""
        return max(1, round((self.first + self.each * (answers - 1)) / 60))


def promise_for(evaluator: Evaluator) -> Promise:
    """Return what an evaluator without a booklet would be dealt now; reads only."""
    configuration = configuration_of(evaluator.study)
    pairs, answers, at_most = _next_booklet(evaluator, configuration)
    minutes = configuration.minutes
    if not minutes:
        minutes = pace_of(evaluator.study).minutes(answers + configuration.practice_trials)
    return Promise(pairs, at_most, max(1, round(minutes)))


def _next_booklet(evaluator: Evaluator, configuration: StudyConfiguration) -> tuple[int, int, bool]:
    """Return the pairs and the answers of the booklet that would be claimed, and whether it may turn out shorter."""
    study = evaluator.study
    free = free_booklets(study, quota_for(evaluator), evaluator.simulated, pilot=evaluator.pilot).first()
    if free is not None:
        trials = free.trials.exclude(kind=Trial.Kind.PRACTICE).exclude(pair__in=marks_in_force(study).values("pair"))
        answers = trials.count()
        return trials.filter(lead=None).count(), answers, False
    most = configuration.trials_per_evaluator
    prompts = 0
    if booklets_of_kind(evaluator).count() >= quota_for(evaluator):
        left_behind = trials_left_behind(study, simulated=evaluator.simulated)
        prompts = left_behind.values("pair__prompt").distinct().count()
    wanted = min(prompts, most) or most  # none: another block is built
    extra = round((configuration.attention_checks + configuration.repeats) * wanted / most)
    each = 1 if configuration.runs else len(configuration.criteria)
    return wanted + extra, (wanted + extra) * each, True


def pace_of(study: Study) -> Pace:
    """Return the pace that was measured of a study's people, or the first estimate while too few have answered."""
    key = f"pace-{study.pk}"
    pace: Pace | None = cache.get(key)
    if pace is None:
        pace = _measured(study) or Pace(SECONDS_PER_TRIAL, SECONDS_PER_TRIAL)
        cache.set(key, pace, CACHED_SECONDS)
    return pace


def _measured(study: Study) -> Pace | None:
    """Return medians of the latest answers, so that breaks and a night between two answers do not count."""
    people = Evaluator.objects.filter(study=study, simulated=False, pilot=False)
    ratings = Rating.objects.filter(evaluator__in=people, superseded=False, deleted_at=None)
    rows = list(
        ratings.order_by("-pk").values_list("evaluator", "sequence", "rated_at", "evaluator__consented_at")[
            :ANSWERS_READ
        ]
    )
    if len(rows) < ENOUGH_ANSWERS and people.filter(finished_at__isnull=False).count() < ENOUGH_PEOPLE:
        return None
    rows.sort()
    gaps = _gaps(rows)
    first = [(at - consented).total_seconds() for _, sequence, at, consented in rows if sequence == 1 and consented]
    if not gaps:
        return None
    each = statistics.median(gaps)
    return Pace(statistics.median(first) if first else each, each)


def _gaps(rows: Sequence[tuple[int, int, datetime, datetime | None]]) -> list[float]:
    """Return the seconds between each person's answers in a row."""
    return [
        (later[2] - earlier[2]).total_seconds()
        for _, answers in groupby(rows, itemgetter(0))
        for earlier, later in pairwise(answers)
        if later[1] == earlier[1] + 1
    ]
