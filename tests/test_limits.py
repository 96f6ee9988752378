"""Texts at the limits of what the records hold: each door takes them or says what is too long, on every database."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree, SegmentationFree
from evenhand.studies.access import enrolment_link
from evenhand.studies.exclusions import exclude
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Arm, Evaluator, Exclusion, PromptSet, Skip, Stage, Study
from evenhand.studies.pipeline import stages
from evenhand.studies.prompt_import import import_texts
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.work import queue
from evenhand.studies.work.queue import Claim, Handler
from tests.helpers.factories import make_admin, make_draft, make_prompt_set, make_ready_study
from tests.helpers.html_forms import values_of
from tests.helpers.uploads import import_upload
from tests.helpers.visitors import Visitor

SMALL = {"name": "Long", "subset_size": "60", "per_stratum": "5"}

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def ada() -> User:
    return make_admin("ada")


@pytest.fixture
def console(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        ("name", 100),
        ("checkpoint", 500),
        ("encoder", 250 - len("/")),
        ("negative_prompt", None),
        ("criterion1_question", None),
        ("consent", None),
        ("contact", None),
        ("completion_code", None),
    ],
)
def test_a_plan_is_stored_or_its_long_field_is_named(console: Client, field: str, limit: int | None) -> None:
    make_prompt_set()
    address = reverse("console:new_study")
    values = values_of(console.get(address).content.decode()) | {
        "name": "Long",
        "subset_size": "60",
        "per_stratum": "5",
    }
    if limit is None:
        assert console.post(address, values | {field: "x" * 5000}).status_code == 302
        return
    refused = console.post(address, values | {field: "x" * (limit + 1)})
    assert list(refused.context["form"].errors) == [field]
    assert console.post(address, values | {field: "x" * limit}).status_code == 302


def test_an_arms_label_holds_its_whole_negative_prompt(ada: User) -> None:
    """105 characters of negative prompt make a label of 131."""
    negative = "blurry, low quality, bad, ugly, cropped, watermark, text, " * 2
    opening = ClassifierFree(2.0, negative[:105])
    study = make_draft(owner=ada, baseline=opening, candidates=(SegmentationFree(5.0, opening=opening),))
    stages.prepare(study)
    batch = queue.claim(stages.Batch, "gpu")
    assert batch is not None
    assert queue.run(batch, stages.HANDLER), Stage.objects.get(name="prompts").error
    assert max(len(arm.label) for arm in Arm.objects.all()) > 100


@pytest.mark.parametrize("name", ["ä" * 130 + ".txt", "x" * 251 + ".csv", ".txt", "ends in a dot"])
def test_a_file_with_a_long_name_is_imported_under_it(console: Client, name: str) -> None:
    assert import_upload(console, b"prompt\na red star\n", name, "Long", column="").status_code == 302
    assert PromptSet.objects.get().source == name


@pytest.mark.parametrize(("name", "source"), [("n" * 101, "s"), ("n", "s" * 256), ("n\0", "s"), ("n", "s\0")])
def test_a_prompt_set_that_its_record_cannot_hold_is_refused(name: str, source: str) -> None:
    with pytest.raises(InputError, match=r"at most|NUL"):
        import_texts(["a red star"], name=name, source=source)
    import_texts(["a red star"], name="n" * 100, source="s" * 255)


def test_notes_and_reasons_are_kept_whole_or_refused(console: Client, ada: User) -> None:
    study = make_ready_study(owner=ada)
    open_study(study)
    invitations = reverse("console:invite", args=[study.pk])
    console.post(invitations, {"count": "1", "note": "x" * 101})
    assert not Evaluator.objects.exists()
    console.post(invitations, {"count": "1", "note": "x" * 100})
    person = Evaluator.objects.get()
    with pytest.raises(InputError, match="201 characters"):
        exclude(person, reason="x" * 201, actor=ada)
    exclude(person, reason="x" * 200, actor=ada)
    assert len(Exclusion.objects.get().reason) == 200


@pytest.mark.parametrize(
    ("ids", "enrolled"),
    [
        ({"PROLIFIC_PID": "x" * 200}, True),
        ({"PROLIFIC_PID": "x" * 201}, False),
        ({"PROLIFIC_PID": "a", "STUDY_ID": "x" * 201}, False),
        ({"PROLIFIC_PID": "a\0b"}, False),
        ({"PROLIFIC_PID": "\0"}, False),
        ({"PROLIFIC_PID": "a", "STUDY_ID": "a\0b"}, False),
        ({"PROLIFIC_PID": "a", "SESSION_ID": "\0"}, False),
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_panel_ids_are_stored_or_named(client: Client, ids: dict[str, str], enrolled: bool, method: str) -> None:
    study = make_ready_study()
    open_study(study)
    response = getattr(client, method)(enrolment_link(study), ids)
    assert response.status_code == (400 if not enrolled else 200 if method == "get" else 302)
    assert Evaluator.objects.count() == (enrolled and method == "post")


def test_what_an_evaluator_writes_is_kept_whole_or_refused(client: Client) -> None:
    study = make_ready_study()
    open_study(study)
    person = enrol(study)
    consent(person)
    visitor = Visitor(client, person)
    trial = visitor.status()["trial"]["id"]
    for note in ("x" * 501, "a\0b"):
        assert visitor.post("skip", {"trial": trial, "reason": "report", "note": note}).status_code == 400
    assert visitor.post("skip", {"trial": trial, "reason": "report", "note": "x" * 500}).status_code == 200
    assert len(Skip.objects.get().note) == 500


@pytest.mark.parametrize("url", ["http://[::1", "http://a]b/", "nowhere", "https://"])
def test_a_return_address_that_is_none_is_named(console: Client, url: str) -> None:
    make_prompt_set()
    address = reverse("console:new_study")
    values = values_of(console.get(address).content.decode()) | {
        "name": "Panel",
        "subset_size": "60",
        "per_stratum": "5",
    }
    response = console.post(address, values | {"completion_url": url})
    assert list(response.context["form"].errors) == ["completion_url"]


def test_a_revision_with_such_an_address_is_refused(console: Client, ada: User) -> None:
    study = make_ready_study(owner=ada)
    address = reverse("console:revision", args=[study.pk])
    values = values_of(console.get(address).content.decode())
    for url in ("http://[::1", "http://a]b/"):
        answer = console.post(address, values | {"completion_url": url})
        assert list(answer.context["form"].errors) == ["completion_url"]
    assert study.versions.count() == 1


def test_an_error_of_any_text_is_stored() -> None:
    """An exception may quote bytes that PostgreSQL stores in no text."""
    study = make_draft()
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    stage = Stage.objects.create(study=study, name="curve", position=0, state=Stage.State.RUNNING, total=1)
    stage.batches.create(number=0)
    batch = queue.claim(stages.Batch, "cpu")
    assert batch is not None

    def fail(claim: Claim[Any]) -> None:
        raise OSError("cannot read 'a\0b'" + "x" * 100_000)

    assert not queue.run(batch, Handler(fail))
    stage.refresh_from_db()
    assert "cannot read 'a\N{SYMBOL FOR NULL}b'" in stage.error
