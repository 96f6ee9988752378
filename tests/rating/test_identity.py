"""Who comes by a panel's link: unfilled ids enrol nobody, and a panel's id alone opens nobody's place."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.access import enrolment_link, link_for
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.lifecycle import open_study, pause_study
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.panels import submission_parameter
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.identity import LostId, panel_ids
from evenhand.studies.rating.withdrawal import withdraw
from tests.helpers.factories import make_ready_study, small_configuration

pytestmark = pytest.mark.django_db
PANEL = {"PROLIFIC_PID": "5f2d", "STUDY_ID": "st1", "SESSION_ID": "se1"}
UNFILLED = ("{{%PROLIFIC_PID%}}", "${e://Field/PROLIFIC_PID}", "[ID]", "[object Object]", "null", "undefined", "None",
            "test", "TEST", "%SURVEY_CODE%", "<id>", "", "  ", "…", "PROLIFIC_PID", "NaN")  # fmt: skip


@pytest.fixture
def ada(client: Client, study: Study) -> Evaluator:
    """Came by the panel's link and has begun."""
    client.post(enrolment_link(study), PANEL)
    person = Evaluator.objects.get()
    consent(person)
    return person


def configuration(**changes: object) -> StudyConfiguration:
    return small_configuration(**changes)


# ------------------------------------------------------------------------------ unfilled ids


@pytest.mark.parametrize("value", UNFILLED)
def test_an_unfilled_id_enrols_nobody_and_both_sides_are_told(client: Client, value: str) -> None:
    study = make_ready_study(contact="study@example.org")
    open_study(study)
    for response in (client.get(enrolment_link(study), {"PROLIFIC_PID": value}),
                     Client().post(enrolment_link(study), {"PROLIFIC_PID": value})):  # fmt: skip
        assert response.status_code == 400
        page = response.content.decode()
        assert "came without your participant id" in page
        assert "study@example.org" in page
        assert response.cookies == {}
    assert Evaluator.objects.count() == 0
    study.refresh_from_db()
    assert study.visits_without_id == 2
    assert study.last_visit_without_id is not None


def test_other_ids_without_the_persons_are_a_lost_id_too() -> None:
    with pytest.raises(LostId):
        panel_ids({"STUDY_ID": "st1", "SESSION_ID": "se1"}, configuration())
    assert panel_ids({}, configuration()) == {}
    assert panel_ids({"lang": "de"}, configuration()) == {}


def test_an_unfilled_session_is_left_out_and_proves_nothing(client: Client, study: Study) -> None:
    ids = PANEL | {"SESSION_ID": "{{%SESSION_ID%}}"}
    client.post(enrolment_link(study), ids)
    ada = Evaluator.objects.get()
    assert ada.external_ids == {"PROLIFIC_PID": "5f2d", "STUDY_ID": "st1"}
    consent(ada)
    assert "another browser" in Client().post(enrolment_link(study), ids).content.decode()


@pytest.mark.parametrize("value", ["5f2d", "417", "A1B2-c3_d4", "test1", "nullius", "ada@example.org"])
def test_ids_that_panels_use_are_taken(value: str) -> None:
    assert panel_ids({"PROLIFIC_PID": f" {value} "}, configuration()) == {"PROLIFIC_PID": value}


def test_looking_without_an_id_is_counted_and_a_preview_is_not(client: Client, study: Study) -> None:
    client.head(enrolment_link(study) + "?PROLIFIC_PID=")
    study.refresh_from_db()
    assert study.visits_without_id == 0


# ------------------------------------------------------------------------------ coming back


def test_a_panels_id_alone_shows_nothing_on_get_and_opens_nothing(client: Client, study: Study, ada: Evaluator) -> None:
    stranger, link = Client(), enrolment_link(study)
    known = stranger.get(link, {"PROLIFIC_PID": "5f2d"})
    unknown = stranger.get(link, {"PROLIFIC_PID": "9b1c"})
    assert known.content.decode().replace("5f2d", "9b1c") == unknown.content.decode()
    for ids in (
        {"PROLIFIC_PID": "5f2d"},
        PANEL | {"SESSION_ID": "guess"},
        PANEL | {"STUDY_ID": "se1", "SESSION_ID": ""},
    ):
        response = stranger.post(link, ids)
        assert response.status_code == 403
        page = response.content.decode()
        assert "You have begun in another browser" in page
        assert link_for(ada) not in page
        assert response.cookies == {}
    ada.refresh_from_db()
    assert ada.later_ids == []
    pause_study(study)
    known, unknown = (stranger.get(link, {"PROLIFIC_PID": name}) for name in ("5f2d", "9b1c"))
    assert known.status_code == unknown.status_code == 403


def test_the_cookie_of_the_browser_is_a_proof(client: Client, study: Study, ada: Evaluator) -> None:
    response = client.get(enrolment_link(study), {"PROLIFIC_PID": "5f2d"})
    assert response.status_code == 302
    assert response.headers["Location"].startswith(link_for(ada))
    assert client.get(enrolment_link(study)).headers["Location"].startswith(link_for(ada))
    bob = {"PROLIFIC_PID": "b0b", "SESSION_ID": "se9"}
    client.post(enrolment_link(study), bob)  # another person in the same browser
    consent(Evaluator.objects.get(external_key="b0b"))
    assert client.post(enrolment_link(study), {"PROLIFIC_PID": "5f2d"}).status_code == 403


def test_the_session_of_the_same_submission_is_a_proof_in_any_browser(study: Study, ada: Evaluator) -> None:
    response = Client().get(enrolment_link(study), PANEL)
    assert response.headers["Location"].startswith(link_for(ada))


def test_the_personal_link_works_in_any_browser(study: Study, ada: Evaluator) -> None:
    assert "1 of 12" in Client().get(link_for(ada)).content.decode()


def test_before_the_consent_a_person_may_move_to_another_device(client: Client, study: Study) -> None:
    client.post(enrolment_link(study), {"PROLIFIC_PID": "5f2d"})
    person = Evaluator.objects.get()
    response = Client().post(enrolment_link(study), {"PROLIFIC_PID": "5f2d"})
    assert response.headers["Location"].startswith(link_for(person))


def test_a_later_submission_is_stored_by_post_alone_and_proves_afterwards(
    client: Client, study: Study, ada: Evaluator
) -> None:
    later = PANEL | {"SESSION_ID": "se2"}
    page = client.get(enrolment_link(study), later)
    assert page.status_code == 200
    assert "You have been here before" in page.content.decode()
    ada.refresh_from_db()
    assert ada.later_ids == []
    for _ in range(2):
        assert client.post(enrolment_link(study), later).headers["Location"].startswith(link_for(ada))
    ada.refresh_from_db()
    assert [visit["ids"] for visit in ada.later_ids] == [later]
    assert ada.external_ids == PANEL
    assert Client().get(enrolment_link(study), later).headers["Location"].startswith(link_for(ada))


def test_whoever_is_done_is_told_so_in_another_browser(study: Study, ada: Evaluator) -> None:
    withdraw(ada)
    response = Client().post(enrolment_link(study), {"PROLIFIC_PID": "5f2d"})
    assert response.status_code == 403
    assert "You have taken part already" in response.content.decode()


def test_nobody_takes_part_twice_after_a_deletion(client: Client, study: Study, ada: Evaluator) -> None:
    withdraw(ada, delete=True)
    ada.refresh_from_db()
    assert (ada.external_key, ada.external_ids, ada.later_ids) == (None, {}, [])
    assert len(ada.external_hmac) == 64
    assert "You have taken part already" in Client().post(enrolment_link(study), PANEL).content.decode()
    assert client.post(enrolment_link(study), PANEL).headers["Location"].startswith(link_for(ada))  # the same browser
    ada.refresh_from_db()
    assert ada.later_ids == []  # nothing is stored of them again
    assert Evaluator.objects.count() == 1
    assert enrol(study, external_key="5f2d").pk == ada.pk


def test_the_keyed_hash_differs_from_study_to_study(study: Study) -> None:
    other = make_ready_study(name="Corgis")
    assert enrol(study, external_key="5f2d").external_hmac != enrol(other, external_key="5f2d").external_hmac


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"), "SESSION_ID"),
        (("participantId", "assignmentId", "projectId"), "assignmentId"),
        (("id",), None),
        (("session", "study"), None),
    ],
)
def test_the_submissions_own_parameter_is_told_by_its_name(names: tuple[str, ...], found: str | None) -> None:
    assert submission_parameter(names) == found


def test_the_admin_sees_the_link_to_send(client: Client, study: Study, ada: Evaluator) -> None:
    client.force_login(study.owner)
    assert link_for(ada) in client.get(reverse("console:people", args=[study.pk])).content.decode()
