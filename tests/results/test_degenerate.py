"""Studies that tell little or nothing: a plain statement everywhere, never an error, and no interval of width zero."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evenhand.studies.exclusions import exclude
from evenhand.studies.lifecycle import close_study
from evenhand.studies.models import Exclusion, Pair, Rating, Study, Trial
from evenhand.studies.results import artefacts
from evenhand.studies.results.report import study_report
from tests.helpers.ratings import always, invite, rate, rate_booklet

pytestmark = pytest.mark.database

PEOPLE = ("ada", "grace", "alan", "joan")


def _nothing(study: Study) -> None:
    del study


def _one_rating(study: Study) -> None:
    trial = invite(study, "ada").booklet.trials.first()
    assert trial is not None
    rate(trial, 1)


def _one_evaluator(study: Study) -> None:
    rate_booklet(invite(study, "ada"), lambda trial: trial.position % 5 - 2)


def _one_pair(study: Study) -> None:
    pair = Pair.objects.filter(comparison__study=study).first()
    for n, name in enumerate(PEOPLE):
        for trial in Trial.objects.filter(booklet=invite(study, name).booklet, pair=pair):
            rate(trial, n % 5 - 2)


def _everybody(study: Study, preference: Callable[[Trial], int], **values: Any) -> None:
    for name in PEOPLE:
        rate_booklet(invite(study, name), preference, **values)


def _all_ties(study: Study) -> None:
    _everybody(study, always(0))


def _all_for_one_side(study: Study) -> None:
    _everybody(study, always(2))


def _all_on_the_right(study: Study) -> None:
    _everybody(study, lambda trial: -1 if trial.candidate_on_left else 1)


def _one_stratum_empty(study: Study) -> None:
    _everybody(study, lambda trial: trial.position % 5 - 2)
    Rating.objects.filter(trial__pair__stratum="low").update(superseded=True)


def _everybody_flagged(study: Study) -> None:
    _everybody(study, lambda trial: trial.position % 3 - 1, elapsed_ms=10)


def _everybody_left_out(study: Study) -> None:
    _everybody(study, lambda trial: trial.position % 3 - 1)
    for evaluator in study.evaluators.all():
        exclude(evaluator, reason="pressed keys at random", actor=study.owner)


def _one_answer_left(study: Study) -> None:
    _everybody(study, lambda trial: trial.position % 3 - 1)
    for rating in Rating.objects.order_by("pk")[1:]:
        Exclusion.objects.create(study=study, rating=rating, reason="a slip")


def _each_answers_one_way(study: Study) -> None:
    for n, name in enumerate(PEOPLE):
        rate_booklet(invite(study, name), always(n - 2))


CASES = [
    _nothing, _one_rating, _one_evaluator, _one_pair, _all_ties, _all_for_one_side, _all_on_the_right,
    _one_stratum_empty, _everybody_flagged, _everybody_left_out, _one_answer_left, _each_answers_one_way,
]  # fmt: skip


@pytest.fixture(params=CASES, ids=lambda case: case.__name__.strip("_"))
def case(request: pytest.FixtureRequest, study: Study) -> Study:
    request.param(study)
    return study


def estimates(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every estimate with an interval in a report, with its place."""
    if isinstance(value, dict):
        if {"low", "high", "reason"} <= set(value):
            yield path, value
        for name, each in value.items():
            yield from estimates(each, f"{path}.{name}")
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from estimates(each, f"{path}[{i}]")


@pytest.mark.parametrize("closed", [False, True])
def test_a_report_is_plain_json_and_says_why_a_number_is_missing(case: Study, closed: bool) -> None:
    if closed:
        Study.objects.filter(pk=case.pk).update(state="collecting")
        case.refresh_from_db()
        close_study(case)
    report = study_report(case)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    found = list(estimates(report))
    assert len(found) > 30
    for place, each in found:
        low, high, p = each["low"], each["high"], each.get("p")
        assert (low is None) == (high is None), place
        if low is None:
            assert each["reason"], place
        else:
            assert low < high, place
            assert math.isfinite(low + high), place
        assert p is None or (closed and 0 <= p <= 1), place
    assert artefacts.terminal(case)


def test_everybody_left_out_is_told_with_the_headline_of_before(study: Study) -> None:
    _everybody_left_out(study)
    report = study_report(study)
    assert report["n"] == 0
    assert report["left_out"]["evaluators"] == report["left_out"]["of"] == 4
    assert report["left_out"]["reasons"] == [{"reason": "pressed keys at random", "n": 4}]
    for result in report["comparisons"]:
        assert result["sensitivity"]["as_reported"]["n"] == 0
        assert result["sensitivity"]["with_excluded"]["n"] == 24
