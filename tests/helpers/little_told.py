"""Studies that tell little or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenhand.studies.exclusions import exclude
from evenhand.studies.models import Exclusion, Pair, Rating, Study, Trial
from tests.helpers.ratings import always, invite, rate, rate_booklet

PEOPLE = ("ada", "grace", "alan", "joan")


def nothing(study: Study) -> None:
    del study


def one_rating(study: Study) -> None:
    trial = invite(study, "ada").booklet.trials.first()
    assert trial is not None
    rate(trial, 1)


def one_evaluator(study: Study) -> None:
    rate_booklet(invite(study, "ada"), lambda trial: trial.position % 5 - 2)


def one_pair(study: Study) -> None:
    pair = Pair.objects.filter(comparison__study=study).first()
    for n, name in enumerate(PEOPLE):
        for trial in Trial.objects.filter(booklet=invite(study, name).booklet, pair=pair):
            rate(trial, n % 5 - 2)


def everybody(study: Study, preference: Callable[[Trial], int], **values: Any) -> None:
    for name in PEOPLE:
        rate_booklet(invite(study, name), preference, **values)


def all_ties(study: Study) -> None:
    everybody(study, always(0))


def all_for_one_side(study: Study) -> None:
    everybody(study, always(2))


def all_on_the_right(study: Study) -> None:
    everybody(study, lambda trial: -1 if trial.candidate_on_left else 1)


def one_stratum_empty(study: Study) -> None:
    everybody(study, lambda trial: trial.position % 5 - 2)
    Rating.objects.filter(trial__pair__stratum="low").update(superseded=True)


def everybody_flagged(study: Study) -> None:
    everybody(study, lambda trial: trial.position % 3 - 1, elapsed_ms=10)


def everybody_left_out(study: Study) -> None:
    everybody(study, lambda trial: trial.position % 3 - 1)
    for evaluator in study.evaluators.all():
        exclude(evaluator, reason="pressed keys at random", actor=study.owner)


def one_answer_left(study: Study) -> None:
    everybody(study, lambda trial: trial.position % 3 - 1)
    for rating in Rating.objects.order_by("pk")[1:]:
        Exclusion.objects.create(study=study, rating=rating, reason="a slip")


def each_answers_one_way(study: Study) -> None:
    for n, name in enumerate(PEOPLE):
        rate_booklet(invite(study, name), always(n - 2))


CASES = [
    nothing, one_rating, one_evaluator, one_pair, all_ties, all_for_one_side, all_on_the_right,
    one_stratum_empty, everybody_flagged, everybody_left_out, one_answer_left, each_answers_one_way,
]  # fmt: skip
