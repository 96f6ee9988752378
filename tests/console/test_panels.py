"""The panel's fields of a plan and of a revision, its advice and lost visits, and places that are freed."""

from __future__ import annotations

from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.access import enrolment_link
from evenhand.studies.drafts import configuration_of
from evenhand.studies.exclusions import REPLACED
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Exclusion, Rating, Study
from evenhand.studies.panels import PRESETS, EndReturn
from evenhand.studies.rating.enrolment import EnrolmentError, consent, enrol
from evenhand.studies.results.report import study_report
from tests.helpers.factories import make_admin, make_draft, make_ready_study
from tests.helpers.html_forms import values_of
from tests.helpers.study_page import study_page
from tests.helpers.visitors import Visitor, answer

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(client: Client) -> Study:
    """Two booklets of twelve trials, both wanted; its admin is logged in."""
    study = make_ready_study(owner=make_admin("ada"), quota=2)
    open_study(study)
    client.force_login(study.owner)
    return study


def rated(study: Study) -> Evaluator:
    """Somebody who has a booklet and has answered all of it."""
    person = enrol(study)
    consent(person)
    answer_some(person)
    return person


def answer_some(person: Evaluator, most: int = 1000) -> None:
    """Answer what is open, over HTTP."""
    visitor = Visitor(Client(), person)
    status = visitor.status()
    while status["trial"] and most:
        status = visitor.post("rate", answer(status["trial"])).json()["next"]
        most -= 1


def page_of(client: Client, study: Study) -> str:
    return study_page(client, study)


# ------------------------------------------------------------------------------ the plan


def test_another_preset_fills_in_what_was_left_as_it_was(client: Client) -> None:
    draft = make_draft(owner=make_admin("ada"), completion_url=PRESETS["prolific"].completion_url)
    client.force_login(draft.owner)
    address = reverse("console:change_plan", args=[draft.pk])
    values = values_of(client.get(address).content.decode())
    assert values["panel_preset"] == "prolific"
    assert client.post(address, values | {"panel_preset": "sona"}).status_code == 302
    draft.refresh_from_db()
    found = configuration_of(draft)
    assert (found.panel, found.panel_parameters, found.completion_url) == ("SONA", ("id",), "")
    values = values_of(client.get(address).content.decode())
    assert values["panel_preset"] == "sona"
    own = {"panel_preset": "connect", "panel": "Our panel", "completion_url": "https://panel.example.org/{id}"}
    client.post(address, values | own)
    draft.refresh_from_db()
    found = configuration_of(draft)
    assert (found.panel, found.panel_parameters) == ("Our panel", PRESETS["connect"].parameters)
    assert found.completion_url == "https://panel.example.org/{id}"  # what was written stays


def test_every_end_has_a_code_and_an_address_of_its_own(client: Client) -> None:
    draft = make_draft(owner=make_admin("ada"))
    client.force_login(draft.owner)
    address = reverse("console:change_plan", args=[draft.pk])
    values = values_of(client.get(address).content.decode())
    wrong = {"end_full_code": "VOLL–1", "end_closed_url": "nowhere"}
    errors = client.post(address, values | wrong).context["form"].errors
    assert set(errors) == set(wrong)
    given = {"end_full_code": "FULL1", "end_withdrawn_url": "https://panel.example.org/left", "minutes": "7.5",
             "payment": "Three dollars.", "redirect_at_once": "on"}  # fmt: skip
    assert client.post(address, values | given).status_code == 302
    draft.refresh_from_db()
    found = configuration_of(draft)
    assert found.end_returns == (EndReturn("full", "FULL1"), EndReturn("withdrawn", "", given["end_withdrawn_url"]))
    assert (found.minutes, found.payment, found.redirect_at_once) == (7.5, "Three dollars.", True)
    again = values_of(client.get(address).content.decode())
    assert again["end_full_code"] == "FULL1"
    client.post(address, again)
    draft.refresh_from_db()
    assert configuration_of(draft) == found


def test_a_revision_changes_ends_payment_and_minutes(client: Client, study: Study) -> None:
    address = reverse("console:revision", args=[study.pk])
    values = values_of(client.get(address).content.decode())
    given = {"end_partial_code": "PART", "payment": "Three dollars.", "minutes": "9"}
    assert client.post(address, values | given).status_code == 302
    study.refresh_from_db()
    found = configuration_of(study)
    assert (found.end_returns, found.payment, found.minutes) == ((EndReturn("partial", "PART"),), "Three dollars.", 9.0)
    assert study.versions.count() == 2


@pytest.mark.parametrize(
    ("preset", "end"),
    [
        ("prolific", "?PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"),
        ("connect", "/"),
        ("sona", "?id=%SURVEY_CODE%"),
        ("generic", "?participant=…"),
    ],
)
def test_the_link_ends_as_the_panel_needs_it_and_says_what_to_set_there(client: Client, preset: str, end: str) -> None:
    known = PRESETS[preset]
    study = make_ready_study(owner=make_admin("ada"), panel=known.name, panel_parameters=known.parameters)
    open_study(study)
    client.force_login(study.owner)
    page = unescape(page_of(client, study))
    assert f'value="http://testserver{enrolment_link(study)}{end.removeprefix("/")}"' in page
    assert known.advice[:40] in page


def test_visits_without_an_id_are_told(client: Client, study: Study) -> None:
    assert "without a" not in page_of(client, study)
    Client().get(enrolment_link(study), {"PROLIFIC_PID": "{{%PROLIFIC_PID%}}"})
    Client().get(enrolment_link(study), {"PROLIFIC_PID": ""})
    assert "2 visits came from the panel without a" in page_of(client, study)


# ------------------------------------------------------------------------------ places


def test_the_place_of_somebody_left_out_is_freed(client: Client, study: Study) -> None:
    grace, _ = rated(study), rated(study)
    late = enrol(study)
    with pytest.raises(EnrolmentError):
        consent(late)
    address = reverse("console:exclusion", args=[study.pk, grace.pk])
    client.post(address, {"reason": "pressed one key"})
    with pytest.raises(EnrolmentError):
        consent(late)  # left out alone, the place stays taken
    client.post(address, {"free": "only"})
    assert "the pairs went to others" in client.get(reverse("console:people", args=[study.pk])).content.decode()
    consent(late)
    assert late.booklet.trials.count() == 12
    answer_some(late)
    assert study_report(study)["n"] == 24
    client.post(address, {"lift": "1"})
    grace.refresh_from_db()
    assert grace.freed_at is None
    assert study_report(study)["n"] == 24  # every pair has what was wanted, and no more
    assert Exclusion.objects.filter(rating__evaluator=grace, reason=REPLACED, lifted_at=None).count() == 12


def test_whoever_is_counted_again_takes_back_the_places_that_are_free(client: Client, study: Study) -> None:
    grace, _ = rated(study), rated(study)
    address = reverse("console:exclusion", args=[study.pk, grace.pk])
    client.post(address, {"reason": "pressed one key", "free": "1"})
    assert Rating.objects.filter(evaluator=grace, slot=None).count() == 12
    late = enrol(study)
    consent(late)
    answer_some(late, 5)
    client.post(address, {"lift": "1"})
    assert Rating.objects.filter(evaluator=grace).exclude(slot=None).count() == 7
    assert study_report(study)["n"] == 24
    client.post(address, {"reason": "again", "free": "1"})
    client.post(address, {"lift": "1"})
    assert study_report(study)["n"] == 24
    assert Exclusion.objects.filter(rating__evaluator=grace, lifted_at=None).count() == 5


def test_places_are_freed_only_of_somebody_who_is_left_out(client: Client, study: Study) -> None:
    grace = rated(study)
    response = client.post(reverse("console:exclusion", args=[study.pk, grace.pk]), {"free": "only"}, follow=True)
    assert "leave this evaluator out first" in response.content.decode()
    grace.refresh_from_db()
    assert grace.freed_at is None
