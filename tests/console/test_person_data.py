"""All that is stored of one evaluator is downloaded and deleted from the people page, by the study's owner."""

from __future__ import annotations

import json

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import AuditEvent, Evaluator, Membership, Rating, Study, Trial
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.ratings import rate

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = make_ready_study(owner=make_admin("ada"), quota=24)
    open_study(study)
    return study


@pytest.fixture
def grace(study: Study) -> Evaluator:
    person = enrol(study, note="Grace, second row")
    consent(person)
    for trial in Trial.objects.filter(booklet__evaluator=person).order_by("position")[:2]:
        rate(trial, 1)
    return person


def address(name: str, person: Evaluator) -> str:
    return reverse(f"console:{name}", args=[person.study_id, person.pk])


def test_the_record_is_a_file_and_the_log_says_who_took_it(client: Client, study: Study, grace: Evaluator) -> None:
    client.force_login(study.owner)
    answer = client.get(address("person_data", grace))
    assert f"-e{grace.pk}.json" in answer["Content-Disposition"]
    record = json.loads(answer.content)
    assert record["person"]["note"] == "Grace, second row"
    assert len(record["answers"]) == 2
    assert grace.nonce not in answer.content.decode()
    log = client.get(reverse("console:audit_log", args=[study.pk])).content.decode()
    assert f"Downloaded what is stored of evaluator e{grace.pk}" in log


def test_a_person_is_deleted_where_the_number_was_typed(client: Client, study: Study, grace: Evaluator) -> None:
    client.force_login(study.owner)
    kept = client.post(address("delete_person", grace), {"number": "e0"}, follow=True)
    assert f"type e{grace.pk}" in kept.content.decode()
    assert Rating.objects.filter(evaluator=grace, deleted_at=None).count() == 2
    page = client.post(
        address("delete_person", grace), {"number": f" e{grace.pk} ", "query": "state=rating"}, follow=True
    )
    assert page.redirect_chain[-1][0].endswith("?state=rating")
    grace.refresh_from_db()
    assert (grace.note, grace.deleted_at is not None) == ("", True)
    assert not Rating.objects.filter(evaluator=grace, deleted_at=None).exists()
    event = AuditEvent.objects.get(study=study, action="withdrawal")
    assert (event.actor_id, event.detail["deleted"]) == (study.owner_id, 2)
    log = client.get(reverse("console:audit_log", args=[study.pk])).content.decode()
    assert f"Withdrew evaluator e{grace.pk} and deleted their data, with 2 answers" in log
    again = client.post(address("delete_person", grace), {"number": f"e{grace.pk}"}, follow=True)
    assert "was deleted before" in again.content.decode()


def test_collaborators_see_neither(client: Client, study: Study, grace: Evaluator) -> None:
    collaborator = make_admin("bob")
    Membership.objects.create(study=study, user=collaborator, role="collaborator")
    client.force_login(collaborator)
    assert "Personal data" not in client.get(reverse("console:people", args=[study.pk])).content.decode()
    assert client.get(address("person_data", grace)).status_code == 403
    assert client.post(address("delete_person", grace), {"number": f"e{grace.pk}"}).status_code == 403
    client.force_login(study.owner)
    assert "Personal data" in client.get(reverse("console:people", args=[study.pk])).content.decode()
