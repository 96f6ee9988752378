"""The stored plan in words: nothing of it is missing, its files bear its hash, and revisions show what they changed."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Study
from evenhand.studies.plan_in_words import GROUPS, changes_between, in_words, sections_of, settings_of
from evenhand.studies.procedure import ComprehensionQuestion
from evenhand.studies.revision import revise
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.ratings import queries_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    return make_ready_study(
        owner=make_admin("ada"),
        stopping_rule="When 4 people have finished.\nNot earlier.",
        comprehension=(ComprehensionQuestion("Which one?", ("the better", "the worse"), 0),),
    )


def test_every_setting_has_a_heading_and_one_label() -> None:
    named = [name for group in GROUPS.values() for name in group]
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(StudyConfiguration))
    labels = [label for group in GROUPS.values() for label in group.values()]
    assert len(set(labels)) == len(labels)


def test_a_setting_without_a_heading_is_not_lost(study: Study) -> None:
    assert study.current_version is not None
    settings = settings_of(study.current_version) | {"new_setting": 3}
    assert sections_of(settings)["Others"][0].value == ("3",)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("stopping_rule", "", "none stated"),
        ("percentiles", [90, 50.5, 10], "90, 50.5, 10"),
        ("zoom", False, "no"),
        ("equivalence_margin", 12.5, "12.5"),
        ("baseline", {"method": "classifier_free", "strength": 7.5}, "CFG w=7.5 (diffusers 8.5)"),
    ],
)
def test_values_are_written_as_people_read_them(name: str, value: object, told: str) -> None:
    assert " ".join(in_words(name, value)).startswith(told)


def test_the_page_shows_all_and_the_files_bear_the_hash(client: Client, study: Study) -> None:
    client.force_login(study.owner)
    address = reverse("console:versions", args=[study.pk])
    page = client.get(address).content.decode()
    for words in ("When 4 people have finished.<br>Not earlier.", "Primary outcome", "SFG a=5", "text: Which one?"):
        assert words in page
    assert study.current_version is not None
    content = client.get(reverse("console:version_file", args=[study.pk, 1, "json"])).content
    assert hashlib.sha256(content).hexdigest() == study.current_version.sha256
    document = client.get(reverse("console:version_file", args=[study.pk, 1, "md"])).content.decode()
    for words in (study.current_version.sha256, study.prompt_set.sha256, "- **Stopping rule**:", "  - Not earlier."):
        assert words in document
    assert queries_of(lambda: client.get(address)) <= 12


def test_a_revision_shows_what_it_changed(client: Client, study: Study) -> None:
    client.force_login(study.owner)
    revise(study, quota=9, payment="5 € an hour")
    first, second = study.versions.order_by("number")
    found = {change.label: change for change in changes_between(settings_of(first), settings_of(second))}
    assert set(found) == {"Evaluators", "Payment"}
    assert (found["Evaluators"].before, found["Evaluators"].after) == (("4",), ("9",))
    page = client.get(reverse("console:versions", args=[study.pk])).content.decode()
    assert "<del>4</del>" in page
    assert "<ins>5 € an hour</ins>" in page
    older = client.get(reverse("console:versions", args=[study.pk]), {"version": 1}).content.decode()
    assert first.sha256 in older


def test_what_is_not_there_is_not_found(client: Client, study: Study) -> None:
    client.force_login(study.owner)
    assert client.get(reverse("console:versions", args=[study.pk]), {"version": "7"}).status_code == 404
    assert client.get(reverse("console:version_file", args=[study.pk, 7, "json"])).status_code == 404
    assert client.get(reverse("console:version_file", args=[study.pk, 1, "pdf"])).status_code == 404
    client.force_login(make_admin("grace"))
    assert client.get(reverse("console:versions", args=[study.pk])).status_code == 404
