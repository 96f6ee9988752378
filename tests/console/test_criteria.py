"""The plan's criteria: ready-made ones, ones of the study's own, and what is wrong with them."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.criteria import PRESETS, Criterion
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Study
from tests.helpers.factories import make_admin, make_draft, make_ready_study
from tests.helpers.html_forms import values_of
from tests.helpers.study_page import study_page

pytestmark = pytest.mark.django_db


def plan(client: Client) -> tuple[Study, str, dict[str, str]]:
    study = make_draft(owner=make_admin("ada"))
    client.force_login(study.owner)
    address = reverse("console:change_plan", args=[study.pk])
    return study, address, values_of(client.get(address).content.decode())


def saved(study: Study) -> tuple[Criterion, ...]:
    return configuration_of(Study.objects.get(pk=study.pk)).criteria


def test_a_ready_made_criterion_is_taken_and_stays(client: Client) -> None:
    study, address, values = plan(client)
    chosen = values | {"criterion2_preset": "match", "criterion3_preset": "appeal", "criteria_order": "runs"}
    assert client.post(address, chosen).status_code == 302
    assert saved(study) == (Criterion(), PRESETS["match"], PRESETS["appeal"])
    page = client.get(address).content.decode()
    assert "Add this criterion" not in page  # none is folded any more
    assert client.post(address, values_of(page)).status_code == 302
    assert saved(study) == (Criterion(), PRESETS["match"], PRESETS["appeal"])


def test_a_criterion_of_the_studys_own_is_taken(client: Client) -> None:
    study, address, values = plan(client)
    own = {"name": "hands", "question": "Whose hands look right?", "options": "1\n2\n3\n4\n5", "decided_by": "quality"}
    client.post(address, values | {f"criterion2_{part}": value for part, value in own.items()})
    assert saved(study)[1] == Criterion("hands", "Whose hands look right?", ("1", "2", "3", "4", "5"), False, "quality")


def test_an_optional_criterion_is_folded_until_it_is_used_or_wrong(client: Client) -> None:
    _, address, values = plan(client)
    assert client.get(address).content.decode().count("Add this criterion") == 2
    refused = client.post(address, values | {"criterion2_name": "Hands!", "criterion2_question": "Whose?"})
    page = refused.content.decode()
    assert page.count("Add this criterion") == 1
    assert "small letters, digits and underscores" in page
    assert "give five options; 0 are given" in page
    assert 'value="Hands!"' in page


def test_a_hidden_text_cannot_tell_a_match(client: Client) -> None:
    _, address, values = plan(client)
    page = client.post(address, values | {"criterion1_hide_prompt": "on"}).content.decode()
    assert "without the text only quality can tell" in page


def test_the_study_page_says_what_is_asked(client: Client) -> None:
    study = make_ready_study(owner=make_admin("ada"), criteria=(Criterion(), PRESETS["appeal"]))
    client.force_login(study.owner)
    page = study_page(client, study)
    assert "2 criteria one after the other: 2 answers a pair" in page
    assert "with the text hidden" in page
