"""What the console does with a study, from scripts: every step, with the same effects, records and refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.core.management import call_command, load_command_class
from django.core.management.base import CommandError

from evenhand.studies.access import enrolment_link, evaluator_for
from evenhand.studies.drafts import configuration_of
from evenhand.studies.exclusions import exclude
from evenhand.studies.lifecycle import open_study
from evenhand.studies.management.study_steps import MORE
from evenhand.studies.models import Evaluator, PromptSet, SamplingRun, Scoring, ScoringPart, Study
from evenhand.studies.results.report import study_report
from tests.helpers.bundles import SECRETS, rated_study
from tests.helpers.factories import make_admin, make_draft, make_prompt_set, make_ready_study
from tests.helpers.ratings import invite

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    return make_ready_study(owner=make_admin("ada"), quota=8, attention_checks=1)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    call_command("study", *words)
    return capsys.readouterr().out


def written(tmp_path: Path, **settings: object) -> str:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(settings))
    return str(file)


def test_a_draft_is_changed_prepared_and_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draft = make_draft(owner=make_admin("ada"))
    told(capsys, "change", "Shapes", "--configuration", written(tmp_path, quota=9), "--name", "Named", "--by", "ada")
    draft.refresh_from_db()
    assert (draft.name, configuration_of(draft).quota, configuration_of(draft).steps) == ("Named", 9, 4)
    assert "is being prepared" in told(capsys, "prepare", "Named")
    draft.refresh_from_db()
    assert draft.state == Study.State.PREPARING
    with pytest.raises(CommandError, match="frozen"):
        call_command("study", "change", "Named", "--configuration", written(tmp_path, quota=3), "--by", "ada")
    told(capsys, "stop", "Named")
    assert draft.stages.filter(state="failed").exists()
    assert "will be tried again" in told(capsys, "retry", "Named")
    assert not draft.stages.filter(state="failed").exists()


def test_a_draft_does_not_take_another_studys_name(tmp_path: Path, study: Study) -> None:
    make_draft(owner=study.owner, name="Draft")
    with pytest.raises(CommandError, match="a study named “Shapes” already"):
        call_command(
            "study", "change", "Draft", "--configuration", written(tmp_path), "--name", "Shapes", "--by", "ada"
        )


def test_a_prepared_study_is_revised(tmp_path: Path, study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert "version 2" in told(capsys, "revise", "Shapes", "--configuration", written(tmp_path, quota=12))
    assert configuration_of(Study.objects.get(pk=study.pk)).quota == 12
    with pytest.raises(CommandError, match="steps: frozen since"):
        call_command("study", "revise", "Shapes", "--configuration", written(tmp_path, steps=7))
    with pytest.raises(CommandError, match="no setting 'speed'"):
        call_command("study", "revise", "Shapes", "--configuration", written(tmp_path, speed=7))


def test_roles_are_given_and_taken(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    make_admin("grace")
    told(capsys, "member", "Shapes", "grace", "viewer", "--by", "ada")
    assert study.memberships.get().role == "viewer"
    told(capsys, "member", "Shapes", "grace", "none")
    assert not study.memberships.exists()
    with pytest.raises(CommandError, match="no role in “Shapes” that could be taken"):
        call_command("study", "member", "Shapes", "grace", "none")
    with pytest.raises(CommandError, match="there is no account “mallory”"):
        call_command("study", "member", "Shapes", "mallory", "viewer")


def test_a_check_pair_is_exchanged_until_the_opening(study: Study) -> None:
    with pytest.raises(CommandError, match="no check pair 9"):
        call_command("study", "exchange-check", "Shapes", "9")
    with pytest.raises(CommandError, match="cannot have the fault “torn”"):
        call_command("study", "exchange-check", "Shapes", "1", "--fault", "torn")
    open_study(study)
    with pytest.raises(CommandError, match="open"):
        call_command("study", "exchange-check", "Shapes", "1")


def test_people_are_noted_freed_kept_and_given_new_links(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    open_study(study)
    grace = invite(study, "grace")
    name = f"e{grace.pk}"
    told(capsys, "note", "Shapes", name, "the tall one")
    with pytest.raises(CommandError, match="100 are the most"):
        call_command("study", "note", "Shapes", name, "x" * 101)
    link = told(capsys, "renew-link", "Shapes", name).strip()
    assert evaluator_for(link.split("/")[2]) == grace
    told(capsys, "free", "Shapes", name, "--by", "ada")
    grace.refresh_from_db()
    assert (grace.note, grace.freed_at is not None) == ("the tall one", True)
    told(capsys, "keep", "Shapes", name, "--by", "ada")
    grace.refresh_from_db()
    assert grace.freed_at is None
    exclude(grace, reason="pressed one key", actor=study.owner)
    told(capsys, "free", "Shapes", name, "--by", "ada")
    actions = {event.action for event in study.events.all()}
    assert {"note changed", "personal link renewed", "open pairs freed", "open pairs kept", "places freed"} <= actions


def test_the_enrolment_link_is_made_anew(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    old = enrolment_link(study)
    new = told(capsys, "renew-link", "Shapes", "--by", "ada").strip()
    study.refresh_from_db()
    assert new == enrolment_link(study) != old
    assert study.events.get(action="enrolment link renewed").actor == study.owner


def test_invitations_are_recorded(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    open_study(study)
    assert len(told(capsys, "invite", "Shapes", "--count", "3", "--by", "ada").split()) == 3
    event = study.events.get(action="invited")
    assert (event.actor, event.detail) == (study.owner, {"count": 3})


def test_a_pair_is_marked_and_used_again(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    pair = study.comparisons.get(position=0).pairs.all()[0]
    told(capsys, "pair", "Shapes", str(pair.pk), "--reason", "torn", "--by", "ada")
    assert study.exclusions.get(pair=pair, lifted_at=None).reason == "torn"
    told(capsys, "pair", "Shapes", str(pair.pk), "--use", "--by", "ada")
    assert not study.exclusions.filter(lifted_at=None).exists()
    with pytest.raises(CommandError, match="has no pair 999999"):
        call_command("study", "pair", "Shapes", "999999", "--use", "--by", "ada")


def test_results_plan_people_and_links_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    study = rated_study(close=False)
    report = json.loads(told(capsys, "report", "Shapes", "--ratings", "all"))
    assert report["comparisons"] == json.loads(json.dumps(study_report(study, population="all")))["comparisons"]
    assert "Shapes" in told(capsys, "preregister", "Shapes")
    people = told(capsys, "people", "Shapes")
    assert SECRETS["a panel's id of a person"] in people
    assert len(people.splitlines()) == 1 + Evaluator.objects.filter(study=study).count()
    assert "https://example.org/e/" in told(capsys, "links", "Shapes", "--base", "https://example.org/")
    assert study.events.filter(action__in=("people downloaded", "links downloaded")).count() == 2


def test_a_failed_scoring_goes_on(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    scoring = Scoring.objects.create(study=study, plan={})
    part = ScoringPart.objects.create(scoring=scoring, phase=0, number=0, queue="gpu", state="failed", error="no file")
    assert "1 parts of scoring" in told(capsys, "score-again", "Shapes", str(scoring.pk))
    part.refresh_from_db()
    assert part.state == "waiting"
    with pytest.raises(CommandError, match="no scoring 999"):
        call_command("study", "score-again", "Shapes", "999")


def test_the_documentation_names_every_action() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "commands.md").read_text(encoding="utf-8")
    parser = load_command_class("evenhand.studies", "study").create_parser("manage.py", "study")
    [actions] = [each for each in parser._actions if each.dest == "action"]
    assert actions.choices is not None
    named = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`]+)`", page))))
    assert len(list(actions.choices)) > 25
    assert set(actions.choices) <= named


def test_steps_that_want_a_user_say_so() -> None:
    for name in (name for name, step in MORE.items() if step.by):
        with pytest.raises(CommandError, match="--by"):
            call_command("study", name, "Shapes", "1", *(["--use"] if name == "pair" else []))


def test_prompt_sets_are_shared_tried_and_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = make_prompt_set(60)
    ada = make_admin("ada")
    call_command("prompt_set", "list")
    assert f"{prompts.pk} “Scenes”: 60 prompts" in capsys.readouterr().out
    for action, shared in (("share", True), ("unshare", False)):
        call_command("prompt_set", action, "Scenes")
        assert PromptSet.objects.get().shared is shared
    settings = written(tmp_path, subset_size=30, per_stratum=5, curve_sizes=[8, 30])
    call_command("prompt_set", "try", "Scenes", "--configuration", settings, "--by", "ada")
    assert SamplingRun.objects.get(prompt_set=prompts).creator == ada
    draft = make_draft(owner=ada)
    with pytest.raises(CommandError, match="is used by 1 study"):
        call_command("prompt_set", "delete", draft.prompt_set.name)
    call_command("prompt_set", "delete", "Scenes")
    assert not PromptSet.objects.filter(name="Scenes").exists()
