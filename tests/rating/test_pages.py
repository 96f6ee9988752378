"""The evaluator's side over HTTP: states, contract, credentials, what a browser is told."""

from __future__ import annotations

import json
import logging
import re

import numpy as np
import pytest
from django.test import Client

from evenhand.config.observability import BlankTokens
from evenhand.generation.images import decode_png
from evenhand.studies.access import enrolment_link, link_for
from evenhand.studies.lifecycle import open_study, pause_study
from evenhand.studies.models import Evaluator, Rating, Study, Trial
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.factories import make_ready_study
from tests.helpers.stored import image_path
from tests.helpers.visitors import JSON, Visitor, answer

pytestmark = pytest.mark.django_db


def test_the_way_from_consent_to_the_end(client: Client, grace: Evaluator) -> None:
    visitor = Visitor(client, grace)
    assert visitor.status() == {"state": "consent", "trial": None}
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    positions = []
    while status["state"] == "trial":
        positions.append(status["trial"]["position"])
        reply = visitor.post("rate", answer(status["trial"])).json()
        assert reply["accepted"] is True
        status = reply["next"]
    assert positions == list(range(1, 13))
    assert status == {"state": "finished", "trial": None}
    grace.refresh_from_db()
    assert grace.finished_at is not None
    assert Rating.objects.filter(evaluator=grace).count() == 12


def test_a_get_changes_nothing(client: Client, visitor: Visitor) -> None:
    before = list(Trial.objects.order_by("pk").values()), list(Evaluator.objects.values())
    client.get(visitor.path)
    visitor.status()
    assert (list(Trial.objects.order_by("pk").values()), list(Evaluator.objects.values())) == before


def test_a_trial_carries_nothing_but_the_contracts_fields(visitor: Visitor) -> None:
    status = visitor.status()
    assert set(status) == {"state", "trial", "preload"}
    asked = {"criterion", "part", "parts", "asks"}
    assert set(status["trial"]) == {"id", "prompt", "left", "right", "position", "of"} | asked
    assert set(status["trial"]["criterion"]) == {"question", "options"}
    assert len(status["preload"]) == 2


def test_nothing_served_names_an_arm_or_a_kind(client: Client, visitor: Visitor) -> None:
    page = client.get(visitor.path).content.decode() + json.dumps(visitor.status())
    page = page.replace(visitor.path, "")  # random characters may spell anything
    assert not re.search(
        r"baseline|candidate|\bCFG\b|\bSFG\b|\barm\b|guidance|attention|repeat_of|stratum", page, re.IGNORECASE
    )
    trial = Trial.objects.select_related("left_image", "right_image").get(
        booklet__evaluator=visitor.evaluator, position=1
    )
    for image in (trial.left_image, trial.right_image):
        assert image.sha256 not in page


def test_the_pictures_are_the_trials_own_and_private(client: Client, visitor: Visitor) -> None:
    trial = Trial.objects.select_related("left_image", "right_image").get(
        booklet__evaluator=visitor.evaluator, position=1
    )
    body = visitor.status()["trial"]
    for side, image in (("left", trial.left_image), ("right", trial.right_image)):
        response = client.get(body[side])
        data = response.getvalue()
        stored = image_path(image.sha256).read_bytes()
        assert (response["Content-Type"], data[:33], data[-12:]) == ("image/png", stored[:33], stored[-12:])
        assert np.array_equal(decode_png(data), decode_png(stored))
        assert "private" in response["Cache-Control"]
        assert "ETag" not in response
        assert "Last-Modified" not in response
        assert "filename" not in response["Content-Disposition"]


def test_without_javascript_a_form_post_leads_to_the_next_trial(client: Client, visitor: Visitor) -> None:
    page = client.get(visitor.path).content.decode()
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    response = client.post(f"{visitor.path}rate/", fields | {"choice": "-1"})
    assert response.status_code == 302
    assert response["Location"] == visitor.path
    rating = Rating.objects.get()
    assert (rating.choice, rating.elapsed_ms) == (-1, None)
    assert visitor.status()["trial"]["position"] == 2
    # the stale page once more: nothing changes, the browser is led on
    again = client.post(f"{visitor.path}rate/", fields | {"choice": "-1"})
    assert again.status_code == 302
    assert Rating.objects.count() == 1


def test_same_key_and_body_is_200_and_another_body_409(visitor: Visitor) -> None:
    given = answer(visitor.status()["trial"])
    assert visitor.post("rate", given).status_code == 200
    assert visitor.post("rate", given).status_code == 200
    changed = visitor.post("rate", given | {"choice": "-2"})
    assert changed.status_code == 409
    assert changed.json()["accepted"] is False
    assert changed.json()["next"]["trial"]["position"] == 2
    assert Rating.objects.count() == 1


def test_an_answer_can_be_corrected(visitor: Visitor) -> None:
    given = answer(visitor.status()["trial"])
    visitor.post("rate", given)
    second = answer({"id": given["trial"]}, choice=-2)
    assert visitor.post("rate", second).status_code == 409
    assert visitor.post("rate", second | {"corrects": given["key"]}).status_code == 200
    assert list(Rating.objects.order_by("pk").values_list("choice", "superseded")) == [(1, True), (-2, False)]


def test_the_last_answer_is_shown_again_to_be_corrected(client: Client, visitor: Visitor) -> None:
    assert "?back=1" in client.get(visitor.path).content.decode()  # hidden before the first answer
    given = answer(visitor.status()["trial"], choice=-1)
    visitor.post("rate", given)
    shown = client.get(f"{visitor.path}?back=1", headers=JSON).json()
    assert (shown["trial"]["id"], shown["corrects"], shown["choice"]) == (given["trial"], given["key"], -1)
    page = client.get(f"{visitor.path}?back=1").content.decode()
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert fields["corrects"] == given["key"]
    assert client.post(f"{visitor.path}rate/", fields | {"choice": "2"}).status_code == 302
    assert visitor.status()["trial"]["position"] == 2
    assert list(Rating.objects.order_by("pk").values_list("choice", "superseded")) == [(-1, True), (2, False)]


def test_a_study_may_forbid_corrections(client: Client) -> None:
    study = make_ready_study(name="Strict", allow_correction=False)
    open_study(study)
    heidi = enrol(study, note="Heidi")
    consent(heidi)
    visitor = Visitor(client, heidi)
    given = answer(visitor.status()["trial"])
    visitor.post("rate", given)
    changed = answer({"id": given["trial"]}, choice=-2, corrects=given["key"])
    assert "corrected" in visitor.post("rate", changed).json()["detail"]
    assert client.get(f"{visitor.path}?back=1", headers=JSON).json()["trial"]["position"] == 2
    assert "?back=1" not in client.get(visitor.path).content.decode()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"choice": "3"}, "choice"),
        ({"choice": "-3"}, "choice"),
        ({"choice": "better"}, "choice"),
        ({"choice": ""}, "choice"),
        ({"key": "not-a-uuid"}, "key"),
        ({"trial": "17"}, "trial"),
        ({"elapsed_ms": "-1"}, "elapsed_ms"),
        ({"elapsed_ms": "99999999999"}, "elapsed_ms"),
        ({"corrects": "x"}, "corrects"),
    ],
)
def test_bad_fields_are_named_and_nothing_is_stored(visitor: Visitor, change: dict[str, str], named: str) -> None:
    response = visitor.post("rate", answer(visitor.status()["trial"]) | change)
    assert response.status_code == 400
    assert response.json()["detail"].startswith(f"{named}:")
    assert Rating.objects.count() == 0


def test_wrong_tokens_open_nothing(client: Client, study: Study, visitor: Visitor) -> None:
    right = visitor.path.strip("/").split("/")[1]
    public_id, _, signature = right.partition(".")
    flipped = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    for token in ("x", f"{public_id}.", f"{public_id}.{flipped}", f"{public_id}", f"AAAAAAAAAAAA.{signature}"):
        response = client.get(f"/e/{token}/")
        assert response.status_code == 404, token
        assert "This link does not work" in response.content.decode()
        assert client.post(f"/e/{token}/rate/", {}, headers=JSON).status_code == 404


def test_another_persons_trial_and_pictures_are_not_found(client: Client, study: Study, visitor: Visitor) -> None:
    heidi = enrol(study, note="Heidi")
    consent(heidi)
    foreign = Visitor(client, heidi).status()["trial"]
    assert visitor.post("rate", answer(foreign)).status_code == 404
    assert client.get(f"{visitor.path}t/{foreign['id']}/left").status_code == 404
    assert Rating.objects.count() == 0


def test_consent_must_be_given(client: Client, grace: Evaluator) -> None:
    visitor = Visitor(client, grace)
    assert visitor.post("consent", {}).status_code == 400
    assert visitor.status()["state"] == "consent"
    trial = Trial.objects.filter(booklet__study=grace.study).first()
    assert trial is not None
    assert visitor.post("rate", answer({"id": str(trial.public_id)})).status_code == 404


def test_a_paused_study_says_so_and_stores_nothing(client: Client, study: Study, visitor: Visitor) -> None:
    trial = visitor.status()["trial"]
    pause_study(study)
    assert "The study is paused" in client.get(visitor.path).content.decode()
    response = visitor.post("rate", answer(trial))
    assert response.status_code == 403
    assert "paused" in response.json()["detail"]
    assert Rating.objects.count() == 0


def test_the_address_stays_out_of_referrers_and_search_engines(client: Client, visitor: Visitor) -> None:
    response = client.get(visitor.path)
    assert response["Referrer-Policy"] == "no-referrer"
    assert "noindex" in response["X-Robots-Tag"]
    assert "no-store" in response["Cache-Control"]
    assert response.cookies == {}


def test_the_next_trial_is_marked_as_shown(visitor: Visitor) -> None:
    visitor.post("rate", answer(visitor.status()["trial"]))
    shown = dict(Trial.objects.filter(booklet__evaluator=visitor.evaluator).values_list("position", "shown_at"))
    assert shown[2] is not None
    assert shown[3] is None


def test_logs_blank_tokens_out(grace: Evaluator) -> None:
    links = (link_for(grace), f"{enrolment_link(grace.study)}?PROLIFIC_PID=5f2d")
    record = logging.LogRecord("x", logging.WARNING, "", 0, "Not Found: %s, %s", links, None)
    BlankTokens().filter(record)
    assert record.getMessage() == "Not Found: /e/…/, /j/…/?PROLIFIC_PID=5f2d"
