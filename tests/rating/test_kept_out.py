"""People who took part in an earlier study are told that this one is not for them."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from evenhand.studies.access import enrolment_link
from evenhand.studies.kept_out import earlier_studies, keep_out_people_of
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import AuditEvent, Evaluator, Study
from evenhand.studies.panels import EndReturn
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.withdrawal import withdraw
from evenhand.studies.undo import duplicate
from tests.helpers.factories import make_admin, make_draft, make_member, make_ready_study

pytestmark = [pytest.mark.django_db, pytest.mark.database]
PANEL: dict[str, Any] = {
    "panel_parameters": ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
    "completion_url": "https://panel.example/done?cc={code}",
    "end_returns": (EndReturn("already", code="BEFORE"),),
}


@pytest.fixture
def first() -> Study:
    study = make_ready_study(owner=make_admin("ada"), name="First", **PANEL)
    open_study(study)
    return study


@pytest.fixture
def second(first: Study) -> Study:
    study = make_ready_study(owner=first.owner, name="Second", **PANEL)
    open_study(study)
    return study


def took_part(study: Study, key: str | None) -> Evaluator:
    person = enrol(study, external_key=key, external_ids={"PROLIFIC_PID": key} if key else None)
    consent(person)
    return person


def come(client: Client, study: Study, key: str, method: str = "get") -> HttpResponse:
    ids = {"PROLIFIC_PID": key, "STUDY_ID": "s", "SESSION_ID": f"session {key}"}
    found: HttpResponse = getattr(client, method)(enrolment_link(study), ids)
    return found


@pytest.mark.parametrize("method", ["get", "post"])
def test_whoever_took_part_is_told_and_led_back(client: Client, first: Study, second: Study, method: str) -> None:
    took_part(first, "5f2d")
    keep_out_people_of(second, [first], actor=first.owner)
    answer = come(client, second, "5f2d", method)
    assert answer.status_code == 403
    page = answer.content.decode()
    assert "You have taken part in an earlier study" in page
    assert "https://panel.example/done?cc=BEFORE" in page
    assert not second.evaluators.exists()


def test_others_come_in(client: Client, first: Study, second: Study) -> None:
    took_part(first, "5f2d")
    enrol(first, external_key="a1b2")  # has read the consent, and not agreed
    keep_out_people_of(second, [first], actor=first.owner)
    for key in ("a1b2", "77aa"):
        assert come(client, second, key).status_code == 200
        assert come(client, second, key, "post").status_code == 302


def test_nobody_is_kept_out_of_a_study_that_names_none(client: Client, first: Study, second: Study) -> None:
    took_part(first, "5f2d")
    assert come(client, second, "5f2d").status_code == 200


def test_the_hash_alone_is_enough_where_the_id_was_deleted(client: Client, first: Study, second: Study) -> None:
    withdraw(took_part(first, "5f2d"), delete=True)
    assert Evaluator.objects.get(study=first).external_key is None
    keep_out_people_of(second, [first], actor=first.owner)
    assert come(client, second, "5f2d").status_code == 403


def test_the_same_browser_is_known_without_a_panel(client: Client, first: Study, second: Study) -> None:
    client.post(enrolment_link(first))
    person = first.evaluators.get()
    keep_out_people_of(second, [first], actor=first.owner)
    assert client.get(enrolment_link(second)).status_code == 200  # without a consent nobody took part
    consent(person)
    answer = client.get(enrolment_link(second))
    assert answer.status_code == 403
    assert "You have taken part in an earlier study" in answer.content.decode()
    assert Client().get(enrolment_link(second)).status_code == 200


def test_a_forged_cookie_keeps_nobody_out(client: Client, first: Study, second: Study) -> None:
    person = took_part(first, None)
    keep_out_people_of(second, [first], actor=first.owner)
    client.cookies[f"evenhand-study-{first.pk}"] = person.public_id
    client.cookies["evenhand-study-x"] = "y"
    assert client.get(enrolment_link(second)).status_code == 200


def test_whoever_is_in_the_study_already_stays_in_it(client: Client, first: Study, second: Study) -> None:
    took_part(first, "5f2d")
    assert come(client, second, "5f2d", "post").status_code == 302
    keep_out_people_of(second, [first], actor=first.owner)
    assert come(client, second, "5f2d").status_code == 302


def test_people_of_a_pilot_are_kept_out_too(client: Client, first: Study, second: Study) -> None:
    joan = enrol(first, external_key="5f2d", pilot=True)
    consent(joan)
    keep_out_people_of(second, [first], actor=first.owner)
    assert come(client, second, "5f2d").status_code == 403


def test_drafts_and_the_study_itself_are_not_offered(first: Study, second: Study) -> None:
    make_draft(owner=first.owner, name="Draft")
    assert earlier_studies(second, first.owner) == [first]


def test_a_copy_keeps_out_on_request(client: Client, first: Study) -> None:
    took_part(first, "5f2d")
    client.force_login(first.owner)
    client.post(reverse("console:copy", args=[first.pk]), {"name": "Again", "keep_out": "on"})
    client.post(reverse("console:copy", args=[first.pk]), {"name": "Free"})
    assert list(Study.objects.get(name="Again").keeps_out.all()) == [first]
    assert not Study.objects.get(name="Free").keeps_out.exists()
    assert not duplicate(first, name="Third", owner=first.owner).keeps_out.exists()


def test_admins_name_earlier_studies_on_a_page(client: Client, first: Study, second: Study) -> None:
    took_part(first, "5f2d")
    client.force_login(first.owner)
    address = reverse("console:kept_out", args=[second.pk])
    assert "First" in client.get(address).content.decode()
    for _ in range(2):
        client.post(address, {"earlier": [str(first.pk), "x", "999"]})
    assert list(second.keeps_out.all()) == [first]
    assert AuditEvent.objects.get(study=second, action="kept out").detail == {"studies": ["First"]}
    assert "people of First" in client.get(reverse("console:study", args=[second.pk])).content.decode()
    client.post(address, {})
    assert not second.keeps_out.exists()
    close_study(second)
    refused = client.post(address, {"earlier": [str(first.pk)]}, follow=True)
    assert "nobody comes in any more" in refused.content.decode()
    assert not second.keeps_out.exists()


def test_only_studies_that_an_admin_may_read_are_named_and_others_stay(client: Client, first: Study) -> None:
    took_part(first, "5f2d")
    other = make_ready_study(owner=make_admin("eve"), name="Other")
    open_study(other)
    keep_out_people_of(other, [first], actor=other.owner)
    assert not other.keeps_out.exists()
    other.keeps_out.add(first)
    client.force_login(other.owner)
    address = reverse("console:kept_out", args=[other.pk])
    page = client.get(address).content.decode()
    assert "1 named study that you have no role in stays named" in " ".join(page.split())
    assert "First" not in page
    client.post(address, {})
    assert list(other.keeps_out.all()) == [first]
    client.force_login(make_member(other, "viewer"))
    assert client.get(address).status_code == 403
