"""The preview: an admin walks the real pages of a ready study, and nothing is stored."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Recipe, Study, Trial
from evenhand.studies.procedure import ComprehensionQuestion
from evenhand.studies.rating.display import display_of
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.preview import preview_link
from tests.helpers.factories import make_admin, make_member, make_ready_study

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def study() -> Study:
    return make_ready_study(owner=make_admin("ada"), practice_trials=2, introduction=True)


@pytest.fixture
def admin(client: Client, study: Study) -> Client:
    client.force_login(study.owner)
    return client


def rows() -> dict[str, int]:
    """How many rows every table of the application has."""
    return {model.__name__: model._default_manager.count() for model in apps.get_app_config("studies").get_models()}


def at(study: Study, name: str) -> str:
    return reverse(f"rating:{name}", args=[f"preview.{study.pk}"])


def step(admin: Client, study: Study) -> dict[str, Any]:
    found: dict[str, Any] = admin.get(at(study, "home"), headers={"Accept": "application/json"}).json()
    return found


def send(admin: Client, study: Study, name: str, **data: Any) -> dict[str, Any]:
    answer = admin.post(at(study, name), data, headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def rate(admin: Client, study: Study, choice: int = 1, **data: Any) -> dict[str, Any]:
    trial = step(admin, study)["trial"]["id"]
    return send(admin, study, "rate", trial=trial, choice=choice, key=uuid.uuid4(), elapsed_ms=900, **data)


def begin(admin: Client, study: Study) -> None:
    admin.post(reverse("console:preview", args=[study.pk]))
    page = admin.get(at(study, "home")).content.decode()
    assert "Preview: nothing is stored." in page
    read = re.search(r'name="read" value="(\w+)"', page)
    assert read is not None
    send(admin, study, "consent", agree="1", of_age="1", read=read[1])


def test_the_whole_way_is_walked_and_nothing_is_stored(admin: Client, study: Study) -> None:
    before = rows()
    begin(admin, study)
    assert step(admin, study)["state"] == "instructions"
    send(admin, study, "leave_step")
    feedback = rate(admin, study)
    assert "feedback" in feedback
    rate(admin, study)
    first = step(admin, study)["trial"]
    assert (first["position"], first["of"]) == (1, 12)
    picture = admin.get(first["left"])
    assert picture.status_code == 200
    assert picture["Content-Type"].startswith("image/")
    for position in range(1, 12):
        assert rate(admin, study)["next"]["trial"]["position"] == position + 1
    skipped = step(admin, study)["trial"]["id"]
    assert send(admin, study, "skip", trial=skipped, reason="report", note="torn")["next"]["state"] == "finished"
    assert "Preview: nothing is stored." in admin.get(at(study, "home")).content.decode()
    assert rows() == before
    study.refresh_from_db()
    assert study.state == "ready"


def test_an_answer_is_corrected_as_anybody_does(admin: Client, study: Study) -> None:
    begin(admin, study)
    send(admin, study, "leave_step")
    for _ in range(3):
        rate(admin, study, choice=-2)
    back = admin.get(at(study, "home"), {"back": "1"}, headers={"Accept": "application/json"}).json()
    assert back["choice"] == -2
    send(
        admin, study, "rate",
        trial=back["trial"]["id"], choice=2, key=uuid.uuid4(), elapsed_ms=900, corrects=back["corrects"],
    )  # fmt: skip
    again = admin.get(at(study, "home"), {"back": "1"}, headers={"Accept": "application/json"}).json()
    assert again["choice"] == 2
    assert step(admin, study)["trial"]["position"] == 2


def test_questions_screen_out_as_they_would(client: Client) -> None:
    question = ComprehensionQuestion("Which?", ("left", "right"), 0)
    study = make_ready_study(owner=make_admin("ada"), comprehension=(question,))
    client.force_login(study.owner)
    begin(client, study)
    assert step(client, study)["state"] == "comprehension"
    send(client, study, "comprehension", q0="1", key=uuid.uuid4())
    assert send(client, study, "comprehension", q0="1", key=uuid.uuid4())["next"]["state"] == "screened_out"
    begin(client, study)
    assert send(client, study, "comprehension", q0="0", key=uuid.uuid4())["next"]["state"] == "trial"


def test_it_is_left_and_begun_again(admin: Client, study: Study) -> None:
    begin(admin, study)
    admin.post(at(study, "withdraw"), {"delete": "1"})
    assert step(admin, study)["state"] == "withdrawn"
    begin(admin, study)
    assert step(admin, study)["state"] == "instructions"


def test_two_admins_walk_apart(admin: Client, study: Study) -> None:
    begin(admin, study)
    other = Client()
    other.force_login(make_member(study, "viewer"))
    assert step(other, study)["state"] == "consent"
    assert step(admin, study)["state"] == "instructions"


def test_the_address_opens_nothing_without_a_role(study: Study, client: Client) -> None:
    assert client.get(at(study, "home")).status_code == 404
    client.force_login(make_admin("eve"))
    assert client.get(at(study, "home")).status_code == 404
    assert client.post(reverse("console:preview", args=[study.pk])).status_code == 404
    for wrong in ("preview.", "preview.x", "preview.²", f"preview.{'9' * 30}"):
        assert client.get(f"/e/{wrong}/").status_code == 404


def test_it_shows_what_the_first_person_gets(admin: Client, study: Study) -> None:
    begin(admin, study)
    send(admin, study, "leave_step")
    rate(admin, study)
    rate(admin, study)
    previewed = step(admin, study)["trial"]["prompt"]
    open_study(study)
    booklet = consent(enrol(study, note="Grace"))
    first = Trial.objects.filter(booklet=booklet, kind="main").order_by("position")[0]
    assert first.pair is not None
    assert first.pair.prompt.text == previewed


def test_an_opened_study_has_no_preview(admin: Client, study: Study) -> None:
    begin(admin, study)
    open_study(study)
    assert admin.get(at(study, "home"))["Location"] == reverse("console:study", args=[study.pk])
    answer = admin.post(reverse("console:preview", args=[study.pk]), follow=True)
    assert "only a study that is ready can be previewed" in answer.content.decode()


def test_the_walk_is_kept_as_text(admin: Client, study: Study) -> None:
    begin(admin, study)
    send(admin, study, "leave_step")
    rate(admin, study)
    walk = Session.objects.get().get_decoded()[f"preview-{study.pk}"]
    assert json.loads(json.dumps(walk)) == walk
    assert preview_link(study) == f"/e/preview.{study.pk}/"


def test_pictures_of_another_size_are_shown_in_it_after_a_preview(admin: Client, study: Study) -> None:
    begin(admin, study)
    send(admin, study, "leave_step")
    assert shown_size(admin, study) == ["64", "64"]
    larger = {"height": 160, "width": 96, "revision": "1" * 64}
    other = make_ready_study(name="Larger")  # stands for the second preparation
    fields = ("checkpoint", "scheduler", "steps", "dtype", "batch_size")
    assert other.recipe is not None
    recipe = Recipe.objects.create(**{name: getattr(other.recipe, name) for name in fields}, **larger)
    Study.objects.filter(pk=study.pk).update(recipe=recipe)
    assert shown_size(admin, study) == ["96", "160"]
    study.refresh_from_db()
    open_study(study)
    assert (display_of(study).width, display_of(study).height) == (96, 160)


def shown_size(admin: Client, study: Study) -> list[str]:
    return re.findall(r'data-(?:width|height)="(\d+)"', admin.get(at(study, "home")).content.decode())[:2]
