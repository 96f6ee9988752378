"""Places: what is freed, skipped or left over a pause is given to somebody else once, and each slot counts once."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse

from evenhand.studies.assignment.reassignment import trials_left_behind
from evenhand.studies.criteria import PRESETS
from evenhand.studies.drafts import configuration_of
from evenhand.studies.exclusions import exclude, free_open_pairs, free_places, keep_open_pairs, lift
from evenhand.studies.lifecycle import open_study, pause_study, resume_study
from evenhand.studies.models import AuditEvent, Booklet, Evaluator, Study, Trial
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.promise import promise_for
from evenhand.studies.rating.withdrawal import withdraw
from evenhand.studies.results.report import counting_ratings
from evenhand.studies.revision import revise
from evenhand.studies.watching.collection import answered_by, people_of
from tests.helpers.factories import make_ready_study
from tests.helpers.visitors import Visitor, answer

pytestmark = pytest.mark.django_db


def opened(**changes: Any) -> Study:
    """A study of six pairs for one person, unless it is changed."""
    study = make_ready_study(**({"trials_per_evaluator": 6, "quota": 1} | changes))
    open_study(study)
    return study


def come(study: Study) -> Visitor:
    person = enrol(study)
    consent(person)
    return Visitor(Client(), person)


def rate(visitor: Visitor, most: int = 1000) -> int:
    """Answer what is open; return how many answers that took."""
    given, status = 0, visitor.status()
    while status["state"] == "trial" and given < most:
        status = visitor.post("rate", answer(status["trial"])).json()["next"]
        given += 1
    return given


def skip(visitor: Visitor, times: int, reason: str = "skip") -> None:
    for _ in range(times):
        visitor.post("skip", {"trial": visitor.status()["trial"]["id"], "reason": reason})


def times_counted(study: Study) -> Counter[Any]:
    """How many ratings count for each slot."""
    return Counter(counting_ratings(study).values_list("trial__slot", flat=True))


def back_in_time(person: Evaluator, minutes: int) -> None:
    """Move what somebody did so many minutes back."""
    back = timedelta(minutes=minutes)
    Booklet.objects.filter(evaluator=person).update(claimed_at=F("claimed_at") - back)
    Trial.objects.filter(booklet__evaluator=person).exclude(shown_at=None).update(shown_at=F("shown_at") - back)
    person.ratings.update(rated_at=F("rated_at") - back)
    Evaluator.objects.filter(pk=person.pk).update(
        consented_at=F("consented_at") - back, created_at=F("created_at") - back
    )


def test_whoever_answers_after_their_place_was_freed_fills_what_nobody_was_given() -> None:
    study = opened()
    grace = come(study)
    rate(grace, 2)
    free_open_pairs(grace.evaluator, actor=study.owner)
    assert rate(grace) == 4
    assert grace.evaluator.ratings.filter(slot=None).count() == 0
    assert not trials_left_behind(study).exists()
    assert len(times_counted(study)) == 6


def test_a_correction_after_the_place_was_freed_keeps_its_slot() -> None:
    study = opened()
    grace = come(study)
    trial = grace.status()["trial"]
    first = answer(trial)
    grace.post("rate", first)
    free_open_pairs(grace.evaluator, actor=study.owner)
    assert grace.post("rate", answer(trial, 2, corrects=first["key"])).status_code == 200
    assert trials_left_behind(study).count() == 5
    assert rate(come(study)) == 5
    assert set(times_counted(study).values()) == {1}


def test_pairs_that_are_freed_answered_and_kept_again_count_once() -> None:
    study = opened()
    grace = come(study)
    free_open_pairs(grace.evaluator, actor=study.owner)
    rate(grace, 2)
    keep_open_pairs(grace.evaluator, actor=study.owner)
    rate(grace)
    assert times_counted(study) == Counter(dict.fromkeys(times_counted(study), 1))
    assert len(times_counted(study)) == 6


def test_leaving_somebody_out_gives_all_pairs_away_though_the_open_ones_were_before(client: Client) -> None:
    study = opened()
    grace = come(study)
    rate(grace, 4)
    client.force_login(study.owner)
    client.post(reverse("console:change_place", args=[study.pk, grace.evaluator.pk]))
    client.post(reverse("console:exclusion", args=[study.pk, grace.evaluator.pk]), {"reason": "one key"})
    page = client.get(reverse("console:people", args=[study.pk])).content.decode()
    assert "Give the pairs to others" in page
    client.post(reverse("console:exclusion", args=[study.pk, grace.evaluator.pk]), {"free": "only"})
    page = client.get(reverse("console:people", args=[study.pk])).content.decode()
    assert "Give the pairs to others" not in page
    assert "the pairs went to others" in page
    event = study.events.get(action="places freed")
    assert event.detail["places"] == 4
    free_places(grace.evaluator, actor=study.owner)
    assert study.events.filter(action="places freed").count() == 1  # a repeated call changes nothing
    assert rate(come(study)) == 6
    assert len(times_counted(study)) == 6


def test_counting_somebody_again_takes_back_the_places_that_are_free() -> None:
    study = opened()
    grace = come(study)
    rate(grace, 4)
    free_open_pairs(grace.evaluator, actor=study.owner)
    exclude(grace.evaluator, reason="one key", actor=study.owner, free=True)
    other = come(study)
    rate(other, 3)
    lift(grace.evaluator, actor=study.owner)
    assert set(times_counted(study).values()) == {1}
    assert grace.evaluator.ratings.exclude(slot=None).count() + other.evaluator.ratings.count() == len(
        times_counted(study)
    )


@pytest.mark.parametrize("leaving", ["withdraws", "is left out"])
def test_what_somebody_skipped_is_given_to_another_when_they_leave(leaving: str) -> None:
    study = opened()
    grace = come(study)
    skip(grace, 2)
    skip(grace, 1, "report")
    assert not trials_left_behind(study).filter(skip__isnull=False).exists()
    if leaving == "withdraws":
        withdraw(grace.evaluator)
    else:
        exclude(grace.evaluator, reason="skips", actor=study.owner, free=True)
    assert trials_left_behind(study).count() == 5  # all but the one that was reported
    assert rate(come(study)) == 5


def test_a_pause_is_not_the_silence_of_those_who_could_not_answer() -> None:
    study = opened(lease_minutes=60)
    grace = come(study)
    rate(grace, 3)
    pause_study(study)
    back_in_time(grace.evaluator, 90)
    assert [line.state for line in lines_of(study)] == ["silent"]
    resume_study(study)
    assert not trials_left_behind(study).exists()
    assert [line.state for line in lines_of(study)] == ["rating"]
    AuditEvent.objects.filter(action="resumed").update(at=F("at") - timedelta(minutes=61))
    assert trials_left_behind(study).count() == 3
    assert [line.state for line in lines_of(study)] == ["silent"]


def lines_of(study: Study) -> list[Any]:
    return people_of(study, configuration_of(study), answered_by([study])[study.pk])[0]


def test_a_raised_quota_promises_a_whole_booklet_though_a_pair_is_left_behind() -> None:
    study = opened(quota=8, lease_minutes=60)
    for _ in range(study.booklets.count()):
        visitor = come(study)
        rate(visitor, 5)
    back_in_time(visitor.evaluator, 90)
    assert trials_left_behind(study).count() == 1
    assert promise_for(enrol(study)).pairs == 1
    revise(study, quota=40)
    study = Study.objects.get(pk=study.pk)
    newcomer = enrol(study)
    assert promise_for(newcomer).pairs == 6
    assert consent(newcomer).trials.count() == 6


def test_whoever_is_left_out_keeps_their_places_until_all_are_given_away() -> None:
    study = opened()
    grace = come(study)
    first = answer(grace.status()["trial"])
    grace.post("rate", first)
    skip(grace, 1)
    free_open_pairs(grace.evaluator, actor=study.owner)
    exclude(grace.evaluator, reason="one key", actor=study.owner)
    assert trials_left_behind(study).count() == 4  # not what was answered, nor what was skipped
    grace.post("rate", answer({"id": first["trial"]}, 2, corrects=first["key"]))
    assert trials_left_behind(study).count() == 4
    free_places(grace.evaluator, actor=study.owner)
    assert trials_left_behind(study).count() == 6


@pytest.mark.parametrize("part", [0, 1])
def test_pictures_that_were_reported_are_shown_to_nobody_by_another_question(part: int) -> None:
    study = opened(criteria=(PRESETS["match"], PRESETS["appeal"]), criteria_order="together")
    grace = come(study)
    rate(grace, part)
    reported = Trial.objects.get(public_id=grace.status()["trial"]["id"])
    skip(grace, 1, "report")
    withdraw(grace.evaluator)
    left = trials_left_behind(study)
    assert left.count() == 10
    assert not left.filter(pair=reported.pair).exists()
