"""Studies from scripts: every step of the console, recorded as of the user who is named, refused in the same words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Study
from tests.helpers.factories import make_admin, make_prompt_set, make_ready_study
from tests.helpers.ratings import always, invite, rate_booklet

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    return make_ready_study(owner=make_admin("ada"), quota=8)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    call_command("study", *words)
    return capsys.readouterr().out


def test_a_study_is_created_from_what_differs_from_the_paper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_admin("ada")
    prompts = make_prompt_set(60)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"subset_size": 30, "per_stratum": 5, "quota": 9, "percentiles": [80, 20]}))
    out = told(capsys, "create", "New", "--prompts", prompts.name, "--configuration", str(file), "--by", "ada")
    made = Study.objects.get(name="New")
    configuration = configuration_of(made)
    assert configuration.sha256 in out
    assert (configuration.quota, configuration.percentiles, configuration.steps) == (9, (80, 20), 20)
    assert made.events.filter(actor=made.owner).exists()
    shown = json.loads(told(capsys, "show", "New"))
    file.write_text(json.dumps(shown))
    told(capsys, "create", "Same", "--prompts", str(prompts.pk), "--configuration", str(file), "--by", "ada")
    assert configuration_of(Study.objects.get(name="Same")) == configuration


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1]", "must hold an object with settings, not list"),
        ("{", "cannot be read as JSON"),
        ('{"colour": 1}', "there is no setting 'colour'"),
        ('{"quota": 0}', "quota"),
        ('{"criteria": [{"colour": 1}]}', "this is no criterion"),
        ('{"percentiles": 5}', "another shape"),
        ('{"baseline": {"method": "magic"}}', "method must be one of"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, content: str, words: str) -> None:
    make_admin("ada")
    prompts = make_prompt_set(60)
    file = tmp_path / "plan.json"
    file.write_text(content)
    with pytest.raises(CommandError, match=words):
        call_command("study", "create", "New", "--prompts", prompts.name, "--configuration", str(file), "--by", "ada")
    assert not Study.objects.exists()


def test_a_study_is_opened_paused_and_closed(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    for action, state in (("open", "collecting"), ("pause", "paused"), ("resume", "collecting"), ("close", "closed")):
        told(capsys, action, study.name, "--by", "ada")
        study.refresh_from_db()
        assert study.state == state
        assert study.events.filter(
            actor=study.owner, action__in=[f"{action}ed", state, f"{action}d", "opened"]
        ).exists()
    with pytest.raises(CommandError, match="closed"):
        call_command("study", "open", study.name)


def test_links_are_made_and_evaluators_left_out(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "open", study.name)
    links = told(capsys, "invite", study.name, "--count", "3", "--base", "https://example.org/").split()
    assert len(set(links)) == 3
    assert all(link.startswith("https://example.org/e/") for link in links)
    person = invite(study, "grace")
    rate_booklet(person, always(1))
    told(capsys, "exclude", study.name, f"e{person.pk}", "--reason", "pressed one key", "--by", "ada")
    assert study.exclusions.get(lifted_at=None).reason == "pressed one key"
    told(capsys, "include", study.name, f"e{person.pk}", "--by", "ada")
    assert not study.exclusions.filter(lifted_at=None).exists()
    for words in (
        ["exclude", study.name, "e999999", "--reason", "x", "--by", "ada"],
        ["invite", study.name, "--count", "0"],
    ):
        with pytest.raises(CommandError, match=r"e999999|1…500"):
            call_command("study", *words)
    assert Evaluator.objects.filter(study=study).count() == 4


def test_a_study_is_copied_and_deleted(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "copy", study.name, "--name", "Twin", "--by", "ada")
    twin = Study.objects.get(name="Twin")
    assert configuration_of(twin) == configuration_of(study)
    with pytest.raises(CommandError, match="already"):
        call_command("study", "copy", study.name, "--name", "Twin", "--by", "ada")
    told(capsys, "redraft", study.name)
    told(capsys, "delete", "Twin")
    assert list(Study.objects.values_list("name", "state")) == [(study.name, "draft")]


def test_unknown_names_are_told_with_those_that_exist(study: Study) -> None:
    with pytest.raises(CommandError, match=f"there are: “{study.name}”"):
        call_command("study", "open", "Nothing")
    with pytest.raises(CommandError, match="no user “hedy”"):
        call_command("study", "open", study.name, "--by", "hedy")
