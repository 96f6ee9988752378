"""Skipping and reporting: counted, shown to the admin, and no disadvantage."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client

from evenhand.studies.models import Evaluator, Rating, Skip, Study, Trial
from evenhand.studies.rating import answers
from tests.helpers.study_page import study_page
from tests.helpers.visitors import Visitor

pytestmark = pytest.mark.django_db


def test_a_skipped_trial_leads_to_the_next_and_is_no_rating(visitor: Visitor) -> None:
    first = visitor.status()["trial"]
    reply = visitor.post("skip", {"trial": first["id"], "reason": "skip"}).json()
    assert reply["next"]["trial"]["position"] == 2
    assert visitor.post("skip", {"trial": first["id"], "reason": "skip"}).json()["next"]["trial"]["position"] == 2
    assert Skip.objects.count() == 1
    assert Rating.objects.count() == 0


def test_somebody_who_skips_still_finishes(visitor: Visitor) -> None:
    status: dict[str, Any] = visitor.status()
    while status["state"] == "trial":
        if status["trial"]["position"] % 3:
            given = {"trial": status["trial"]["id"], "choice": "0", "key": str(uuid.uuid4())}
            status = visitor.post("rate", given).json()["next"]
        else:
            status = visitor.post("skip", {"trial": status["trial"]["id"], "reason": "skip"}).json()["next"]
    assert status["state"] == "finished"
    assert (Rating.objects.count(), Skip.objects.count()) == (8, 4)


def test_a_skipped_trial_takes_no_answer(visitor: Visitor) -> None:
    first = visitor.status()["trial"]
    visitor.post("skip", {"trial": first["id"], "reason": "skip"})
    answer = {"trial": first["id"], "choice": "1", "key": str(uuid.uuid4())}
    assert visitor.post("rate", answer).status_code == 409
    assert Rating.objects.count() == 0


def test_only_the_open_trial_is_skipped(visitor: Visitor) -> None:
    later = Trial.objects.get(booklet__evaluator=visitor.evaluator, position=4)
    assert visitor.post("skip", {"trial": str(later.public_id), "reason": "skip"}).status_code == 409
    assert visitor.post("skip", {"trial": str(uuid.uuid4()), "reason": "skip"}).status_code == 404
    assert Skip.objects.count() == 0


@pytest.mark.parametrize(
    ("change", "named"), [({"reason": "boring"}, "reason"), ({"trial": "x"}, "trial"), ({"note": "n" * 501}, "note")]
)
def test_bad_fields_are_named(visitor: Visitor, change: dict[str, str], named: str) -> None:
    given = {"trial": visitor.status()["trial"]["id"], "reason": "skip"} | change
    response = visitor.post("skip", given)
    assert response.status_code == 400
    assert response.json()["detail"].startswith(f"{named}:")
    assert Skip.objects.count() == 0


def test_without_javascript_the_form_leads_on(client: Client, visitor: Visitor) -> None:
    trial = visitor.status()["trial"]["id"]
    response = client.post(f"{visitor.path}skip/", {"trial": trial, "reason": "report", "note": "blurred"})
    assert response["Location"] == visitor.path
    assert Skip.objects.get().note == "blurred"


def test_the_admin_sees_reports_with_their_notes(client: Client, study: Study, visitor: Visitor) -> None:
    visitor.post("skip", {"trial": visitor.status()["trial"]["id"], "reason": "report", "note": "not for children"})
    visitor.post("skip", {"trial": visitor.status()["trial"]["id"], "reason": "skip"})
    client.force_login(study.owner)
    page = study_page(client, study)
    assert "1 reported and 1 skipped" in page
    assert "not for children" in page


def test_a_skip_is_one_for_each_trial(rater: Evaluator) -> None:
    trial = Trial.objects.get(booklet__evaluator=rater, position=1)
    Skip.objects.create(trial=trial, reason="skip")
    from django.db import IntegrityError, transaction

    with pytest.raises(IntegrityError), transaction.atomic():
        Skip.objects.create(trial=trial, reason="report")
    with pytest.raises(IntegrityError, match="skip_is_skip_or_report"), transaction.atomic():
        Skip.objects.create(trial=Trial.objects.get(booklet__evaluator=rater, position=2), reason="bored")


def test_an_answer_that_came_in_between_is_not_skipped(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = visitor.status()["trial"]
    look = answers.open_trials

    def look_slowly(evaluator: Evaluator) -> list[Trial]:
        found = look(evaluator)
        monkeypatch.setattr(answers, "open_trials", look)
        given = {"trial": trial["id"], "choice": "1", "key": str(uuid.uuid4())}
        assert visitor.post("rate", given).status_code == 200  # from another device
        return found

    monkeypatch.setattr(answers, "open_trials", look_slowly)
    with pytest.raises(answers.Conflict, match="has an answer already"):
        answers.skip_trial(evaluator=visitor.evaluator, trial_id=uuid.UUID(trial["id"]), reason="skip")
    assert (Rating.objects.count(), Skip.objects.count()) == (1, 0)


def test_what_was_skipped_in_between_is_not_answered(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = visitor.status()["trial"]
    look = answers.open_trials

    def look_slowly(evaluator: Evaluator, **more: Any) -> list[Trial]:
        found = look(evaluator, **more)
        monkeypatch.setattr(answers, "open_trials", look)
        assert visitor.post("skip", {"trial": trial["id"], "reason": "skip"}).status_code == 200  # from another device
        return found

    monkeypatch.setattr(answers, "open_trials", look_slowly)
    assert visitor.post("rate", {"trial": trial["id"], "choice": "1", "key": str(uuid.uuid4())}).status_code == 409
    assert (Rating.objects.count(), Skip.objects.count()) == (0, 1)
