"""A pilot: people who go the whole way before the study is opened, and are never part of it."""

from __future__ import annotations

import csv
import uuid

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies import undo
from evenhand.studies.access import link_for
from evenhand.studies.bundle.records import chain_rows
from evenhand.studies.check_exchange import ExchangeError, exchange_prompt
from evenhand.studies.lifecycle import close_study, open_study, pause_study
from evenhand.studies.models import AuditEvent, Booklet, Evaluator, Rating, Study
from evenhand.studies.rating import chain
from evenhand.studies.rating.answers import NotCollecting
from evenhand.studies.rating.enrolment import consent, enrol, is_full
from evenhand.studies.rating.progress import State, progress_of
from evenhand.studies.results.export import csv_lines, evaluator_lines, pilot_lines
from evenhand.studies.results.report import study_report
from evenhand.studies.simulation.deciders import enrol_simulated
from evenhand.studies.watching.collection import answered_by, cells_of
from tests.helpers.factories import make_admin, make_member, make_ready_study
from tests.helpers.ratings import record_rating

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def study() -> Study:
    return make_ready_study(owner=make_admin("ada"), quota=2, attention_checks=1)


def answer(person: Evaluator) -> Rating:
    trial = progress_of(person).trial
    assert trial is not None
    return record_rating(evaluator=person, trial_id=trial.public_id, choice=2, key=uuid.uuid4(), elapsed_ms=900)


def of_pilot(study: Study, note: str = "Joan", answers: int = 3) -> Evaluator:
    person = enrol(study, note=note, pilot=True)
    consent(person)
    for _ in range(answers):
        answer(person)
    return person


def test_a_pilot_goes_the_whole_way_before_the_study_is_opened(study: Study) -> None:
    joan = of_pilot(study, answers=13)
    assert progress_of(joan).state == State.FINISHED
    grace = enrol(study, note="Grace")
    assert progress_of(grace).state == State.NOT_OPEN
    study.refresh_from_db()
    assert study.state == "ready"


def test_a_pilot_takes_no_place_of_the_study(study: Study) -> None:
    for note in ("Joan", "Mary", "Alan"):
        of_pilot(study, note)
    open_study(study)
    assert not is_full(study)
    numbers = [consent(enrol(study, note=note)).number for note in ("Grace", "Barbara")]
    assert numbers == [0, 1]
    assert is_full(study)
    late = enrol(study, note="Katherine", pilot=True)
    assert consent(late).pilot


def test_simulated_people_take_no_place_of_the_study(study: Study) -> None:
    open_study(study)
    enrol_simulated(study, 2)
    for person in study.evaluators.filter(simulated=True):
        assert consent(person).simulated
    assert not is_full(study)
    assert [consent(enrol(study, note=note)).number for note in ("Grace", "Barbara")] == [0, 1]


def test_a_pilots_ratings_enter_no_result_and_no_file_but_their_own(study: Study) -> None:
    joan = of_pilot(study)
    open_study(study)
    grace = enrol(study, note="Grace")
    consent(grace)
    answer(grace)
    for population in ("real", "simulated", "all"):
        report = study_report(study, population=population)
        assert report["n"] <= 1
        assert all(person["evaluator"] != f"e{joan.pk}" for person in report["people"])
    assert study_report(study)["evaluators"]["invited"] == 1
    assert {row["evaluator"] for row in csv.DictReader(csv_lines(study))} == {f"e{grace.pk}"}
    assert {row["evaluator"] for row in csv.DictReader(evaluator_lines(study))} == {f"e{grace.pk}"}
    own = list(csv.DictReader(pilot_lines(study)))
    assert [row["evaluator"] for row in own] == [f"e{joan.pk}"] * 3
    assert [each.evaluator for each in answered_by([study])[study.pk]] == [grace.pk]
    assert sum(cell.answers for cell in cells_of([study])[study.pk]) <= 1


def test_the_closing_root_and_the_bundle_leave_the_pilot_out(study: Study) -> None:
    joan = of_pilot(study)
    open_study(study)
    empty = chain.root(study)
    assert [row for row in chain_rows(study) if row["evaluator"] == joan.public_id] == []
    close_study(study)
    assert study.ratings_root == empty
    assert list(chain.faults(study)) == []


def test_nobody_is_given_what_a_pilot_leaves_behind(study: Study) -> None:
    joan = of_pilot(study)
    Evaluator.objects.filter(pk=joan.pk).update(freed_at="2026-01-01T00:00Z")
    open_study(study)
    for note in ("Grace", "Barbara"):
        consent(enrol(study, note=note))
    assert is_full(study)


def test_a_pilot_waits_while_the_study_is_paused(study: Study) -> None:
    joan = of_pilot(study)
    open_study(study)
    trial = progress_of(joan).trial
    assert trial is not None
    pause_study(study)
    with pytest.raises(NotCollecting):
        record_rating(evaluator=joan, trial_id=trial.public_id, choice=1, key=uuid.uuid4())


def test_a_plan_may_change_after_a_pilot_and_says_what_is_lost(study: Study) -> None:
    of_pilot(study)
    assert "3 answers of the pilot" in undo.losses(study).sentence
    undo.return_to_draft(study)
    assert not Rating.objects.exists()
    assert not Booklet.objects.exists()


def test_check_pairs_stay_while_a_pilot_has_them(study: Study) -> None:
    of_pilot(study)
    check = study.check_pairs.select_related("study", "better", "prompt")[0]
    with pytest.raises(ExchangeError, match="people of the pilot"):
        exchange_prompt(check)


def test_admins_invite_to_a_pilot_and_find_its_people(study: Study, client: Client) -> None:
    client.force_login(study.owner)
    address = reverse("console:invite_to_pilot", args=[study.pk])
    client.post(address, {"count": "2", "note": "colleagues"})
    people = list(study.evaluators.all())
    assert [person.pilot for person in people] == [True, True]
    assert AuditEvent.objects.get(study=study, action="pilot invited").detail == {"count": 2}
    enrol(study, note="Grace")
    page = client.get(reverse("console:people", args=[study.pk]), {"state": "pilot"})
    assert {line.person.pk for line in page.context["people"]} == {person.pk for person in people}
    assert client.get(link_for(people[0])).status_code == 200
    story = client.get(reverse("console:part", args=[study.pk, "evaluators"])).content.decode()
    assert "2 invited, 0 begun, 0 finished" in story
    refused = client.post(address, {"count": "501"}, follow=True)
    assert "count:" in refused.content.decode()
    assert study.evaluators.filter(pilot=True).count() == 2


def test_a_closed_study_has_no_new_pilot_and_viewers_invite_nobody(study: Study, client: Client) -> None:
    address = reverse("console:invite_to_pilot", args=[study.pk])
    client.force_login(make_member(study, "viewer"))
    assert client.post(address, {"count": "1"}).status_code == 403
    open_study(study)
    close_study(study)
    client.force_login(study.owner)
    assert (
        "a pilot needs a study that is ready or open"
        in client.post(address, {"count": "1"}, follow=True).content.decode()
    )
    assert not study.evaluators.exists()
