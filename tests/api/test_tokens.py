"""Tokens: made and revoked by a user for themself, shown once, stored as a keyed hash."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse

from evenhand.studies.models import ApiToken, AuditEvent
from evenhand.studies.tokens import TokenError, make_token, revoke_token, token_of
from tests.helpers.factories import make_admin

pytestmark = pytest.mark.django_db
ADDRESS = "/api/studies"


@pytest.fixture
def ada() -> User:
    return make_admin("ada")


@pytest.fixture
def console(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


def ask(text: str) -> Any:
    return Client().get(ADDRESS, headers={"Authorization": f"Bearer {text}"})


def made_in(console: Client, **fields: str) -> str:
    page = console.post(reverse("console:tokens"), {"name": "notebook"} | fields)
    assert page["Cache-Control"] == "private, no-store"
    [text] = re.findall(r'value="(evenhand_[\w-]+)"', page.content.decode())
    return str(text)


def test_the_console_shows_a_new_token_once_and_stores_a_hash(console: Client, ada: User) -> None:
    text = made_in(console)
    assert ask(text).status_code == 200
    assert text not in console.get(reverse("console:tokens")).content.decode()
    stored = ApiToken.objects.values().get()
    assert stored["user_id"] == ada.pk
    assert not any(text in str(value) or text.removeprefix("evenhand_") in str(value) for value in stored.values())


def test_the_day_of_the_last_use_is_noted(console: Client, ada: User) -> None:
    token, text = make_token(ada, "notebook")
    assert "never" in console.get(reverse("console:tokens")).content.decode()
    ask(text)
    token.refresh_from_db()
    assert token.last_used_on == datetime.now(UTC).date()


def test_a_revoked_token_opens_nothing_and_its_name_is_free(console: Client, ada: User) -> None:
    text = made_in(console)
    again = console.post(reverse("console:tokens"), {"name": "notebook"})
    assert again.status_code == 400
    assert "already" in again.content.decode()
    console.post(reverse("console:revoke_token", args=[ApiToken.objects.get().pk]))
    refused = ask(text)
    assert (refused.status_code, refused.json()) == (401, {"error": "the token “notebook” is revoked"})
    assert ask(made_in(console)).status_code == 200


def test_nobody_revokes_another_users_token(console: Client) -> None:
    token, text = make_token(make_admin("mallory"), "hers")
    assert console.post(reverse("console:revoke_token", args=[token.pk])).status_code == 404
    assert ask(text).status_code == 200
    assert "hers" not in console.get(reverse("console:tokens")).content.decode()


def test_a_token_ends_after_its_last_day(ada: User) -> None:
    today = datetime.now(UTC).date()
    token, text = make_token(ada, "short", expires_on=today)
    assert ask(text).status_code == 200
    ApiToken.objects.filter(pk=token.pk).update(expires_on=today - timedelta(days=1))
    assert ask(text).json() == {"error": f"the token “short” ended on {today - timedelta(days=1)}"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "required"),
        ({"name": "x" * 61}, "at most 60 characters"),
        ({"name": "old", "expires_on": "2020-01-01"}, "2020-01-01 has passed"),
        ({"name": "odd", "expires_on": "soon"}, "valid date"),
    ],
)
def test_what_cannot_be_made_is_said_at_the_form(console: Client, fields: dict[str, str], words: str) -> None:
    page = console.post(reverse("console:tokens"), fields)
    assert page.status_code == 400
    assert words in page.content.decode()
    assert not ApiToken.objects.exists()


def test_a_token_of_a_closed_account_opens_nothing(ada: User) -> None:
    _, text = make_token(ada, "notebook")
    ada.is_active = False
    ada.save()
    assert ask(text).status_code == 401


def test_tokens_do_not_survive_another_secret(ada: User, settings: Any) -> None:
    _, text = make_token(ada, "notebook")
    settings.SECRET_KEY = "another secret of more than thirty-two characters"
    with pytest.raises(TokenError, match="opens nothing"):
        token_of(text)


def test_the_account_logs_what_was_made_and_revoked(console: Client, ada: User) -> None:
    token, _ = make_token(ada, "notebook", expires_on=date(2999, 1, 2))
    revoke_token(token, actor=ada)
    revoke_token(token, actor=ada)  # which changes nothing
    page = console.get(reverse("console:tokens")).content.decode()
    assert "Made the API token “notebook”, until 2999-01-02" in page
    assert page.count("Revoked the API token “notebook”") == 1
    assert AuditEvent.objects.filter(study=None, actor=ada).count() == 2


def test_the_command_does_the_same(ada: User, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("api_token", "make", "ada", "server", "--until", "2999-01-02")
    text = capsys.readouterr().out.strip()
    assert ask(text).status_code == 200
    call_command("api_token", "list", "ada")
    listed = capsys.readouterr().out
    assert listed.startswith("server: made ")
    assert "until 2999-01-02, last used 2" in listed
    call_command("api_token", "revoke", "ada", "server")
    assert ask(text).status_code == 401
    with pytest.raises(CommandError, match="no token named “server”"):
        call_command("api_token", "revoke", "ada", "server")
    with pytest.raises(CommandError, match="no user “grace”"):
        call_command("api_token", "list", "grace")
