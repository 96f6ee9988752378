"""Pairs that are marked as unusable, as the people see it who were dealt them."""

from __future__ import annotations

import uuid

import pytest
from django.utils import timezone

from evenhand.studies.assignment.reassignment import trials_left_behind
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Pair, Rating, Study, Trial
from evenhand.studies.rating.ends import work_of
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.progress import State, progress_of
from evenhand.studies.rating.promise import promise_for
from evenhand.studies.unusable_pairs import mark_unusable, take_back
from evenhand.studies.watching.collection import cells_of, wanted_by_cell
from tests.helpers.ratings import record_rating

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def open_pair(rater: Evaluator) -> tuple[Trial, Pair]:
    trial = progress_of(rater).trial
    assert trial is not None
    assert trial.pair is not None
    return trial, trial.pair


def answer(rater: Evaluator, trial: Trial) -> Rating:
    return record_rating(evaluator=rater, trial_id=trial.public_id, choice=1, key=uuid.uuid4())


def test_an_open_trial_is_passed_over_and_comes_back(rater: Evaluator, study: Study) -> None:
    trial, pair = open_pair(rater)
    mark_unusable(pair, reason="torn", actor=study.owner)
    after = progress_of(rater)
    assert after.trial is not None
    assert after.trial.pk != trial.pk
    assert (after.position, after.of) == (1, 11)
    take_back(pair, actor=study.owner)
    assert progress_of(rater).trial == trial


def test_somebody_may_finish_without_it_and_has_done_all(rater: Evaluator, study: Study) -> None:
    _, pair = open_pair(rater)
    mark_unusable(pair, reason="torn", actor=study.owner)
    for _ in range(11):
        trial, _ = open_pair(rater)
        answer(rater, trial)
    rater.refresh_from_db()
    assert progress_of(rater).state == State.FINISHED
    work = work_of(rater)
    assert (work.asked, work.done, work.whole) == (11, 11, True)


def test_whoever_finished_loses_nothing_when_the_pair_comes_back_and_goes_to_another(
    rater: Evaluator, study: Study
) -> None:
    trial, pair = open_pair(rater)
    mark_unusable(pair, reason="torn", actor=study.owner)
    while (found := progress_of(rater).trial) is not None:
        answer(rater, found)
    rater.refresh_from_db()
    assert rater.finished_at is not None
    take_back(pair, actor=study.owner)
    for note in range(configuration_of(study).quota + 1):  # until one is given what was left behind
        other = enrol(study, note=f"other {note}")
        consent(other)
        if Trial.objects.filter(replaces=trial, booklet__evaluator=other).exists():
            break
        Evaluator.objects.filter(pk=other.pk).update(finished_at=timezone.now())
    trial.refresh_from_db()
    assert trial.released
    work = work_of(rater)
    assert (work.lost, work.whole) == (0, True)


def test_an_answer_that_was_given_stays_and_keeps_its_number(rater: Evaluator, study: Study) -> None:
    trial, pair = open_pair(rater)
    rating = answer(rater, trial)
    mark_unusable(pair, reason="torn", actor=study.owner)
    rating.refresh_from_db()
    assert rating.counted
    assert rating.slot is not None
    assert not rating.superseded
    after = progress_of(rater)
    assert (after.position, after.of) == (2, 12)


def test_a_page_that_was_open_still_takes_its_answer(rater: Evaluator, study: Study) -> None:
    trial, pair = open_pair(rater)
    mark_unusable(pair, reason="torn", actor=study.owner)
    answer(rater, trial)
    assert Rating.objects.filter(trial=trial, superseded=False).count() == 1


def test_nobody_else_is_given_what_was_left_behind(rater: Evaluator, study: Study) -> None:
    _, pair = open_pair(rater)
    Evaluator.objects.filter(pk=rater.pk).update(withdrawn_at=timezone.now())
    before = trials_left_behind(study).count()
    mark_unusable(pair, reason="torn", actor=study.owner)
    assert trials_left_behind(study).count() == before - 1


def test_the_consent_promises_a_pair_less(study: Study) -> None:
    joan = enrol(study, note="Joan")
    promised = promise_for(joan).pairs
    booklet = consent(enrol(study, note="Mary"))
    kept = Trial.objects.filter(booklet__study=study, booklet__number=(booklet.number or 0) + 1).first()
    assert kept is not None
    assert kept.pair is not None
    mark_unusable(kept.pair, reason="torn", actor=study.owner)
    assert promise_for(joan).pairs == promised - 1


def test_the_counts_want_nothing_of_it(rater: Evaluator, study: Study) -> None:
    trial, pair = open_pair(rater)
    answer(rater, trial)
    configuration = configuration_of(study)
    cell = (pair.comparison.position, pair.stratum)
    before = wanted_by_cell(study, configuration)
    mark_unusable(pair, reason="torn", actor=study.owner)
    after = wanted_by_cell(study, configuration)
    assert after[cell] == pytest.approx(before[cell] * 3 / 4)
    assert {key: value for key, value in after.items() if key != cell} == pytest.approx(
        {key: value for key, value in before.items() if key != cell}
    )
    assert cells_of([study]) == {}
