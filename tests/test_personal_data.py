"""What is stored of a person: exported whole, deleted on request, emptied of what identifies after a while."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.test import Client

from evenhand.studies.access import enrolment_link
from evenhand.studies.audit_in_words import sentence_of
from evenhand.studies.exclusions import exclude
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import AuditEvent, Evaluator, Rating, Skip, Study
from evenhand.studies.rating import chain
from evenhand.studies.rating.enrolment import enrol, evaluator_of_panel
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.visitors import Visitor, answer

pytestmark = [pytest.mark.django_db, pytest.mark.database]
PANEL = {"PROLIFIC_PID": "5f2d-of-grace", "STUDY_ID": "s", "SESSION_ID": "visit-1"}
NOTE, REPORT, REMARK = "Grace Hopper, room 12", "my cousin is in the picture", "too dark"


@pytest.fixture
def study(client: Client) -> Study:
    """Grace, from a panel, has answered with a remark and reported a pair; Alan holds a noted link. Closed since."""
    names = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")
    study = make_ready_study(owner=make_admin("ada"), panel_parameters=names, ask_remark=True, trials_per_evaluator=6)
    open_study(study)
    client.post(enrolment_link(study), PANEL)
    grace = Visitor(client, Evaluator.objects.get())
    status = grace.post("consent", {"agree": "1"}).json()["next"]
    for number in range(3):
        values = answer(status["trial"], remark=REMARK if number == 0 else "")
        status = grace.post("rate", values).json()["next"]
    assert grace.post("skip", {"trial": status["trial"]["id"], "reason": "report", "note": REPORT}).status_code == 200
    client.post(enrolment_link(study), PANEL | {"SESSION_ID": "visit-2"})
    enrol(study, note=NOTE)
    exclude(grace.evaluator, reason="too fast", actor=study.owner)
    close_study(study)
    assert Skip.objects.get().note == REPORT
    return study


def closed_before(days: int) -> None:
    AuditEvent.objects.filter(action="closed").update(at=F("at") - timedelta(days=days))


def everything() -> str:
    text = ""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            text += repr(cursor.fetchall())
    return text


def test_people_of_a_study_closed_long_ago_are_forgotten_and_their_answers_stay(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    ratings, root = list(Rating.objects.order_by("pk").values()), chain.root(study)
    grace = Evaluator.objects.get(note="")
    closed_before(400)
    call_command("personal_data", "forget", "--days", "365", "--dry-run")
    assert "ids of 1 people, 1 notes, 1 reports would be emptied" in capsys.readouterr().out
    assert all(text in everything() for text in (*PANEL.values(), "visit-2", NOTE, REPORT))
    call_command("personal_data", "forget", "--days", "365")
    assert "are emptied" in capsys.readouterr().out
    assert not [text for text in ("5f2d-of-grace", "visit-1", "visit-2", NOTE, REPORT) if text in everything()]
    assert list(Rating.objects.order_by("pk").values()) == ratings
    assert (list(chain.faults(study)), chain.root(study)) == ([], root)
    assert evaluator_of_panel(study, PANEL["PROLIFIC_PID"]) == grace
    [event] = AuditEvent.objects.filter(action="people forgotten")
    assert sentence_of(event) == "Emptied the ids of 1 person, 1 note and the texts of 1 report"
    call_command("personal_data", "forget", "--days", "365")
    assert capsys.readouterr().out == ""
    assert AuditEvent.objects.filter(action="people forgotten").count() == 1


def test_who_comes_back_leaves_no_new_ids(study: Study, client: Client) -> None:
    closed_before(400)
    call_command("personal_data", "forget", "--days", "365")
    assert client.post(enrolment_link(study), PANEL | {"SESSION_ID": "visit-3"}).status_code == 302
    assert "visit-3" not in everything()


def test_others_studies_are_left_alone(study: Study, settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    closed_before(100)
    with pytest.raises(CommandError, match="EVENHAND_KEEP_DAYS"):
        call_command("personal_data", "forget")
    settings.KEEP_DAYS = 365
    call_command("personal_data", "forget")
    assert NOTE in everything()
    with pytest.raises(CommandError, match="was not closed at least 365 days ago"):
        call_command("personal_data", "forget", "--study", study.name)
    call_command("personal_data", "forget", "--days", "90", "--study", study.name)
    assert NOTE not in everything()


def test_an_export_holds_all_that_is_stored_of_one_person(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    grace = Evaluator.objects.get(note="")
    call_command("personal_data", "export", study.name, f"e{grace.pk}")
    text = capsys.readouterr().out
    found = json.loads(text)
    assert found["person"]["external_ids"] == PANEL
    assert found["person"]["later_ids"][0]["ids"]["SESSION_ID"] == "visit-2"
    assert [each["remark"] for each in found["answers"]] == [REMARK, "", ""]
    assert all(each["prompt"] and each["elapsed_ms"] == 1200 for each in found["answers"])
    assert [each["note"] for each in found["skips"]] == [REPORT]
    assert [each["reason"] for each in found["exclusions"]] == ["too fast"]
    assert "excluded" in [each["what"] for each in found["log"]]
    assert grace.nonce not in text
    assert NOTE not in text


def test_deletion_does_what_the_persons_own_page_does(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    grace = Evaluator.objects.get(note="")
    call_command("personal_data", "delete", study.name, f"e{grace.pk}")
    assert "answers and ids are deleted" in capsys.readouterr().out
    assert not [text for text in ("5f2d-of-grace", "visit-1", REMARK, REPORT) if text in everything()]
    assert list(chain.faults(study)) == []
    with pytest.raises(CommandError, match="has no evaluator"):
        call_command("personal_data", "export", study.name, "e999")
