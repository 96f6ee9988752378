"""Requests of any content: none makes the server fail, and none harms chains or counts.

The normal run sends a few; ``make fuzz`` sends EVENHAND_FUZZ of them to each door and prints the seed.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
import schemathesis
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from evenhand.studies.access import enrolment_link, link_for
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Booklet, PromptSet, Rating, Study, Trial
from evenhand.studies.rating import chain
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.tokens import make_token
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.html_forms import values_of

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = int(os.environ.get("EVENHAND_FUZZ", "12"))
pytestmark = [pytest.mark.django_db, pytest.mark.database]
any_number = settings(
    max_examples=CASES,
    deadline=None,
    derandomize="EVENHAND_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)

ODD = (
    "",
    "\0",
    "a\0b",
    "-1",
    "0",
    "1e309",
    "NaN",
    "٣",
    "9" * 40,
    "\ud7ff",
    "x" * 5000,
    "<b>",
    "' OR 1=1 --",
    "http://[::1",
    "[]",
    "{}",
)
texts = st.one_of(st.sampled_from(ODD), st.text(st.characters(codec="utf-8"), max_size=60))
NAMES = (
    "agree", "age", "lang", "trial", "choice", "key", "elapsed_ms", "corrects", "reasons", "remark", "reason", "note",
    "q0", "read", "text", "viewport_width", "device_pixel_ratio", "hidden_ms", "zoomed", "PROLIFIC_PID", "STUDY_ID",
)  # fmt: skip
forms = st.dictionaries(st.sampled_from(NAMES), texts, max_size=8)


@pytest.fixture
def study() -> Study:
    study = make_ready_study(owner=make_admin("ada"), quota=20, trials_per_evaluator=6, ask_remark=True)
    open_study(study)
    return study


def whole(study: Study) -> None:
    """What no request may harm: chains, one current answer a trial, one counted a slot, the quota."""
    assert list(chain.faults(study)) == []
    current = Rating.objects.filter(trial__booklet__study=study, superseded=False)
    assert current.count() == current.values("trial").distinct().count()
    counted = current.exclude(slot=None)
    assert counted.count() == counted.values("slot").distinct().count()
    assert Booklet.objects.filter(study=study, remainder=False).exclude(evaluator=None).count() <= 20


@contextmanager
def undone() -> Iterator[None]:
    """Undo afterwards what one case has stored, so that a case that fails can be found again by its seed."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


STEPS = ("consent", "rate", "feedback", "go-on", "comprehension", "skip", "withdraw", "nowhere")


@any_number
@given(data=st.data())
def test_an_evaluators_requests(study: Study, data: st.DataObject) -> None:
    """A few posts in a row, with trials and keys that are right and others that are not."""
    client = Client(raise_request_exception=False, REMOTE_ADDR="93.184.215.14")
    with undone():
        person = enrol(study)
        consent(person)
        trials = Trial.objects.filter(booklet__evaluator=person).order_by("position")[:3]
        right = [{"trial": str(each.public_id), "choice": "1", "key": str(uuid.UUID(int=each.pk))} for each in trials]
        for _ in range(data.draw(st.integers(1, 4))):
            step, values = data.draw(st.sampled_from(STEPS)), data.draw(forms)
            if data.draw(st.booleans()):
                values = data.draw(st.sampled_from(right)) | values
            answer = client.post(f"{link_for(person)}{step}/", values)
            assert answer.status_code < 500, (step, values)
            assert client.get(link_for(person), values).status_code < 500, values
        whole(study)


@any_number
@given(values=forms)
def test_who_comes_by_an_open_link(study: Study, values: dict[str, str]) -> None:
    client = Client(raise_request_exception=False, REMOTE_ADDR="93.184.215.14")
    with undone():
        assert client.get(enrolment_link(study), values).status_code < 500, values
        assert client.post(enrolment_link(study), values).status_code < 500, values
        whole(study)


@any_number
@given(data=st.data())
def test_a_plans_form(study: Study, data: st.DataObject) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(study.owner)
    address = reverse("console:new_study")
    known = values_of(client.get(address).content.decode())
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(known)), texts, min_size=1, max_size=4))
    studies = Study.objects.count()
    answer = client.post(address, known | {"name": f"Study {uuid.uuid4()}"} | changed)
    assert answer.status_code < 500, changed
    assert Study.objects.count() - studies == (answer.status_code == 302)


@any_number
@given(
    content=st.one_of(st.binary(max_size=400), texts.map(str.encode)),
    ending=st.sampled_from(("csv", "txt", "json", "jsonl", "tsv", "zip", "xlsx", "parquet")),
)
def test_prompt_files(study: Study, content: bytes, ending: str) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(study.owner)
    with undone():
        sets = PromptSet.objects.count()
        answer = client.post(reverse("console:prompt_sets"), {"file": SimpleUploadedFile(f"a.{ending}", content)})
        assert answer.status_code < 500, (ending, content)
        if answer.status_code == 302:
            shown = client.get(answer["Location"], follow=True)
            assert shown.status_code < 500, (ending, content)
            token = shown.context["upload"].token
            taken = client.post(reverse("console:prompt_import", args=[token]), {"name": "Set"})
            assert taken.status_code < 500, (ending, content)
        assert PromptSet.objects.count() - sets in (0, 1)


SCHEMA = schemathesis.openapi.from_path(ROOT / "docs/openapi.json")
OPERATIONS = [each.ok() for each in SCHEMA.get_all_operations() if isinstance(each, Ok)]


@any_number
@given(data=st.data())
def test_the_api(study: Study, data: st.DataObject) -> None:
    """Requests that schemathesis makes of the OpenAPI document, right ones and wrong ones."""
    client = Client(raise_request_exception=False)
    _, token = make_token(study.owner, str(uuid.uuid4()))
    operation = data.draw(st.sampled_from(OPERATIONS))
    wrong = data.draw(st.booleans())
    case = data.draw(
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE if wrong else GenerationMode.POSITIVE)
    )
    path = case.formatted_path
    if data.draw(st.booleans()):
        path = re.sub(r"/studies/[^/]+", f"/studies/{study.pk}", path)
    bearer = {"Authorization": f"Bearer {token}"} if data.draw(st.integers(0, 4)) else {}
    answer = client.generic(
        case.method.upper(), path, headers=bearer, QUERY_STRING=urlencode(dict(case.query or {}), doseq=True)
    )
    assert answer.status_code < 500, (path, case.query)
