"""Open and panel links: nothing happens on GET, people come back to where they were, and a panel gets its code."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from evenhand.studies.access import completion_code, enrolment_link, link_for
from evenhand.studies.lifecycle import close_study, open_study, pause_study
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.models.designs import new_nonce
from tests.helpers.factories import make_ready_study
from tests.helpers.visitors import JSON, Visitor, answer

pytestmark = pytest.mark.django_db
PANEL = {"PROLIFIC_PID": "5f2d", "STUDY_ID": "st1", "SESSION_ID": "se1"}


def own_link(response: object) -> str:
    return response.headers["Location"].split("?")[0]  # type: ignore[attr-defined]


def test_an_open_link_enrols_on_post_alone_and_remembers_the_browser(client: Client, study: Study) -> None:
    path = enrolment_link(study)
    page = client.get(path)
    assert page.status_code == 200
    assert Evaluator.objects.count() == 0
    first = own_link(client.post(path))
    assert Evaluator.objects.count() == 1
    assert own_link(client.get(path)) == own_link(client.post(path)) == first
    assert Evaluator.objects.count() == 1
    assert own_link(Client().post(path)) != first  # another browser is another person, who has a link of their own


def test_a_panels_link_knows_its_people_in_any_browser(client: Client, study: Study) -> None:
    path = enrolment_link(study)
    page = client.get(path, PANEL).content.decode()
    assert 'name="PROLIFIC_PID" value="5f2d"' in page
    first = own_link(client.post(path, PANEL))
    ada = Evaluator.objects.get()
    assert ada.external_key == "5f2d"
    assert ada.external_ids == PANEL
    assert own_link(Client().get(path, PANEL)) == own_link(Client().post(path, PANEL)) == first == link_for(ada)
    assert own_link(client.post(path, PANEL | {"PROLIFIC_PID": "9b1c"})) != first


def test_the_panels_names_are_the_studys(client: Client) -> None:
    study = make_ready_study(panel_parameters=("worker", "assignment"))
    open_study(study)
    client.post(enrolment_link(study), {"worker": "w7", "assignment": "a1", "PROLIFIC_PID": "ignored"})
    assert Evaluator.objects.get().external_ids == {"worker": "w7", "assignment": "a1"}


def test_a_panels_person_gets_the_code_when_everything_is_answered_and_not_before(client: Client) -> None:
    study = make_ready_study(
        completion_code="C0FFEE", completion_url="https://panel.example.org/done?cc={code}", trials_per_evaluator=6
    )
    open_study(study)
    client.post(enrolment_link(study), PANEL)
    visitor = Visitor(client, Evaluator.objects.get())
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    while status["state"] == "trial":
        assert "C0FFEE" not in client.get(visitor.path).content.decode()
        status = visitor.post("rate", answer(status["trial"])).json()["next"]
    end = client.get(visitor.path).content.decode()
    assert "C0FFEE" in end
    assert "https://panel.example.org/done?cc=C0FFEE" in end


def test_without_the_studys_code_everybody_has_their_own(client: Client, study: Study) -> None:
    codes = set()
    for person in ("5f2d", "9b1c"):
        client.post(enrolment_link(study), {"PROLIFIC_PID": person})
        codes.add(completion_code(Evaluator.objects.get(external_key=person), ""))
    assert len(codes) == 2
    assert all(re.fullmatch(r"[A-Z2-7]{8}", code) for code in codes)


def test_a_link_that_is_cut_foreign_or_revoked_opens_nothing(client: Client, study: Study) -> None:
    path = enrolment_link(study)
    other = enrolment_link(make_ready_study(name="Corgis"))
    swapped = "/".join([*path.split("/")[:2], path.split("/")[2].split(".")[0] + "." + other.split(".")[1]])
    for wrong in (path[:-3] + "/", swapped, "/j/17.abc/", "/j/x.y/"):
        for response in (client.get(wrong), client.post(wrong)):
            assert response.status_code == 404
            assert "does not work" in response.content.decode()
    Study.objects.filter(pk=study.pk).update(link_nonce=new_nonce())
    assert client.post(path).status_code == 404
    assert Evaluator.objects.count() == 0


def test_a_study_that_takes_nobody_says_so(client: Client) -> None:
    study = make_ready_study()
    path = enrolment_link(study)
    assert "has not begun" in client.post(path).content.decode()
    open_study(study)
    pause_study(study)
    assert "is paused" in client.post(path).content.decode()
    close_study(study)
    response = client.post(path)
    assert response.status_code == 403
    assert "has ended" in response.content.decode()
    assert Evaluator.objects.count() == 0


def test_an_overlong_panel_id_is_named(client: Client, study: Study) -> None:
    response = client.post(enrolment_link(study), {"PROLIFIC_PID": "x" * 201})
    assert response.status_code == 400
    assert "PROLIFIC_PID" in response.content.decode()
    assert Evaluator.objects.count() == 0


def test_an_oversized_body_is_refused_in_plain_words(client: Client, study: Study, grace: Evaluator) -> None:
    for path in (enrolment_link(study), f"{link_for(grace)}consent/", f"{link_for(grace)}rate/"):
        response = client.post(path, {"agree": "1", "PROLIFIC_PID": "x" * 1_100_000})
        assert response.status_code == 413
        assert "was not stored" in response.content.decode()
    assert client.post(f"{link_for(grace)}rate/", {"key": "x" * 1_100_000}, headers=JSON).json()["accepted"] is False
    grace.refresh_from_db()
    assert grace.consented_at is None


def test_a_forged_cookie_is_no_way_in(client: Client, study: Study, grace: Evaluator) -> None:
    client.cookies[f"evenhand-study-{study.pk}"] = f"{grace.public_id}:forged"
    assert client.get(enrolment_link(study)).status_code == 200  # the page for strangers
