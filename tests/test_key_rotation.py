"""A new secret: what was made with the older one holds while that is kept, and no longer."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.http import Http404
from django.test import Client
from django.urls import reverse

from evenhand.studies.access import completion_code, enrolment_link, link_for, study_to_join
from evenhand.studies.console.reconcile import people_here
from evenhand.studies.kept_out import keep_out_people_of, took_part_before
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import ApiToken, Evaluator, Study
from evenhand.studies.rating.enrolment import consent, enrol, evaluator_of_panel
from evenhand.studies.rating.withdrawal import withdraw
from evenhand.studies.reconciling import Submission, reconcile
from evenhand.studies.secret_file import read_secrets
from evenhand.studies.tokens import TokenError, make_token, token_of
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.visitors import Visitor, answer

ROOT = Path(__file__).resolve().parent.parent
OLD, NEW = "the first secret of these tests, long", "the second secret of these tests, long"

pytestmark = pytest.mark.django_db
Step = Callable[[], None]


@pytest.fixture(autouse=True)
def _old(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []


@pytest.fixture
def renew(settings: Any) -> Step:
    def change() -> None:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]

    return change


@pytest.fixture
def forget(settings: Any) -> Step:
    def change() -> None:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, []

    return change


@pytest.fixture
def study() -> Study:
    study = make_ready_study(
        owner=make_admin("ada"), completion_url="https://panel.example/done?cc={code}", trials_per_evaluator=6
    )
    open_study(study)
    return study


def test_links_of_before_open_until_the_older_secret_is_gone(
    client: Client, study: Study, renew: Step, forget: Step
) -> None:
    person = enrol(study)
    links = [link_for(person), enrolment_link(study)]
    renew()
    assert [client.get(link).status_code for link in links] == [200, 200]
    newer = [link_for(person), enrolment_link(study)]
    assert not set(newer) & set(links)
    forget()
    assert [client.get(link).status_code for link in links] == [404, 404]
    assert [client.get(link).status_code for link in newer] == [200, 200]


def test_a_link_of_a_secret_that_was_never_ours_opens_nothing(study: Study, renew: Step, settings: Any) -> None:
    settings.SECRET_KEY = "a secret of somebody else's, long enough"
    token = enrolment_link(study).strip("/").partition("/")[2]
    settings.SECRET_KEY = OLD
    renew()
    with pytest.raises(Http404):
        study_to_join(token)


def test_an_api_token_moves_to_the_new_secret_when_it_is_used(study: Study, renew: Step, forget: Step) -> None:
    _, used = make_token(study.owner, "used")
    _, unused = make_token(study.owner, "unused")
    renew()
    assert token_of(used).name == "used"
    assert token_of(used).name == "used"
    forget()
    assert token_of(used).name == "used"
    with pytest.raises(TokenError, match="opens nothing"):
        token_of(unused)


def test_people_are_known_again_by_their_panels_id(study: Study, renew: Step, forget: Step) -> None:
    person = enrol(study, external_key="5f2d", external_ids={"PROLIFIC_PID": "5f2d"})
    consent(person)
    withdraw(person, delete=True)
    later = make_ready_study(owner=study.owner, name="Later")
    keep_out_people_of(later, [study], actor=study.owner)
    renew()
    assert evaluator_of_panel(study, "5f2d") == person
    assert took_part_before(later, "5f2d", {})
    forget()
    assert evaluator_of_panel(study, "5f2d") is None


def test_browsers_and_logins_of_before_are_known_again(study: Study, renew: Step, forget: Step) -> None:
    """Those that come meanwhile move to the new secret; the others are strangers once the older one is gone."""
    visitors, admins = [Client(), Client()], [Client(), Client()]
    for visitor, admin in zip(visitors, admins, strict=True):
        assert visitor.post(enrolment_link(study)).status_code == 302
        admin.force_login(study.owner)
    renew()
    assert visitors[0].get(enrolment_link(study)).status_code == 302
    assert admins[0].get(reverse("console:studies")).status_code == 200
    forget()
    assert [visitor.get(enrolment_link(study)).status_code for visitor in visitors] == [302, 200]
    assert [admin.get(reverse("console:studies")).status_code for admin in admins] == [200, 302]


def test_a_completion_code_of_before_is_right(client: Client, study: Study, renew: Step, forget: Step) -> None:
    client.post(enrolment_link(study), {"PROLIFIC_PID": "5f2d"})
    person = Visitor(client, Evaluator.objects.get())
    status = person.post("consent", {"agree": "1"}).json()["next"]
    while status["state"] == "trial":
        status = person.post("rate", answer(status["trial"])).json()["next"]
    before = completion_code(person.evaluator, "")

    def is_right(code: str) -> bool:
        return bool(reconcile(people_here(study), [Submission("5f2d", "AWAITING REVIEW", code)]).both)

    assert is_right(before)
    renew()
    after = completion_code(person.evaluator, "")
    assert [is_right(code) for code in (before, after, "WRONG234")] == [True, True, False]
    forget()
    assert [is_right(code) for code in (before, after)] == [False, True]


def manage(var: Path, *arguments: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EVENHAND", "DATABASE"))}
    environment = clean | {"EVENHAND_VAR": str(var), "DJANGO_SETTINGS_MODULE": "evenhand.config.settings"}
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_keeps_the_older_secret_after_the_new_one(tmp_path: Path) -> None:
    [first] = manage(tmp_path, "secret", "list").splitlines()
    path = tmp_path / "secret_key"
    [old] = read_secrets(path)
    said = manage(tmp_path, "secret", "renew")
    new, kept = read_secrets(path)
    assert kept == old != new
    assert not {old, new} & set(said.split())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    signs, older = manage(tmp_path, "secret", "list").splitlines()
    assert first.split()[0] == older.split()[0] != signs.split()[0]


def test_forgetting_keeps_people_whose_id_is_still_there(
    study: Study, renew: Step, forget: Step, settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.SECRET_FILE = tmp_path / "secret_key"
    settings.SECRET_FILE.write_text(f"{NEW}\n{OLD}\n")
    person = enrol(study, external_key="5f2d", external_ids={"PROLIFIC_PID": "5f2d"})
    make_token(study.owner, "unused")
    renew()
    call_command("secret", "forget")
    assert read_secrets(settings.SECRET_FILE) == [NEW]
    assert f"({ApiToken.objects.count()} are in force), and 0 people" in capsys.readouterr().out
    forget()
    withdraw(person, delete=True)
    assert evaluator_of_panel(study, "5f2d") == person


def test_a_secret_of_the_environment_is_told_and_not_written(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.SECRET_FILE = tmp_path / "secret_key"
    monkeypatch.setenv("EVENHAND_SECRET_KEY", OLD)
    call_command("secret", "renew")
    assert "EVENHAND_SECRET_KEY_FALLBACKS=" in capsys.readouterr().out
    assert not settings.SECRET_FILE.exists()
