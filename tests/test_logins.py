"""Guessing passwords: refused after some failures, for a while, for one name from one address; nothing else is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test import Client
from django.urls import reverse

from tests.helpers.factories import make_admin

pytestmark = [pytest.mark.django_db, pytest.mark.database]

RIGHT, WRONG = "a long password", "a wrong password"
HERE, ELSEWHERE = "93.184.215.14", "192.0.43.8"
TRIES = 3


@pytest.fixture(autouse=True)
def ada(settings: Any) -> User:
    settings.AXES_FAILURE_LIMIT = TRIES
    return make_admin("ada")


def log_in(password: str, name: str = "ada", address: str = HERE, page: str = "console:login", **headers: str) -> Any:
    client = Client(REMOTE_ADDR=address, headers={"user-agent": "Lynx", **headers})
    return client.post(reverse(page), {"username": name, "password": password, "next": "/console/tokens/"})


def let_time_pass(by: timedelta) -> None:
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - by)


@pytest.mark.parametrize("page", ["console:login", "admin:login"])
def test_after_some_failures_the_right_password_is_not_looked_at_for_a_while(page: str, settings: Any) -> None:
    for _ in range(TRIES - 1):
        assert log_in(WRONG, page=page).status_code == 200
    refused = log_in(WRONG, page=page)
    assert refused.status_code == 429
    assert "Try again in 15 minutes" in refused.content.decode()
    assert 890 <= int(refused["Retry-After"]) <= 900
    let_time_pass(timedelta(minutes=5))
    again = log_in(RIGHT, page=page)
    assert again.status_code == 429
    assert "Try again in 10 minutes" in again.content.decode()  # trying meanwhile makes it no longer
    let_time_pass(timedelta(minutes=11))
    assert log_in(RIGHT, page=page).status_code == 302


def test_others_may_log_in_meanwhile() -> None:
    make_admin("grace")
    for _ in range(TRIES):
        log_in(WRONG)
    assert log_in(RIGHT).status_code == 429
    assert log_in(RIGHT, address=ELSEWHERE).status_code == 302
    assert log_in(RIGHT, name="grace").status_code == 302


def test_another_browser_does_not_help() -> None:
    for number in range(TRIES):
        log_in(WRONG, **{"user-agent": f"Browser {number}", "X-Forwarded-For": f"192.0.2.{number}"})
    assert log_in(RIGHT, **{"user-agent": "Another"}).status_code == 429


def test_a_login_forgives_what_failed_before() -> None:
    for _ in range(2):
        for _ in range(TRIES - 1):
            assert log_in(WRONG).status_code == 200
        assert log_in(RIGHT).status_code == 302
    assert not AccessAttempt.objects.exists()


def test_behind_a_proxy_addresses_are_told_apart_where_the_installation_says_so(settings: Any) -> None:
    settings.PROXIES = 1
    for _ in range(TRIES):
        log_in(WRONG, address="10.0.0.2", **{"X-Forwarded-For": HERE})
    assert log_in(RIGHT, address="10.0.0.2", **{"X-Forwarded-For": HERE}).status_code == 429
    assert log_in(RIGHT, address="10.0.0.2", **{"X-Forwarded-For": ELSEWHERE}).status_code == 302


def test_neither_address_nor_name_nor_browser_is_stored() -> None:
    for _ in range(TRIES + 1):
        log_in(WRONG, name="my password, in the wrong field", accept="text/x-odd")
    log_in(RIGHT)
    assert AccessAttempt.objects.get().failures_since_start == TRIES
    assert not AccessLog.objects.exists()
    assert not AccessFailureLog.objects.exists()
    everything = ""
    with connection.cursor() as cursor:
        for table in ("axes_accessattempt", "axes_accessattemptexpiration", "django_session", "studies_auditevent"):
            cursor.execute(f"SELECT * FROM {table}")
            everything += repr(cursor.fetchall())
    for text in (HERE, "Lynx", "text/x-odd", "my password", WRONG, "/console/tokens/"):
        assert text not in everything


def test_an_odd_name_is_refused_in_words() -> None:
    for name in ("a\0b", "x" * 500, "ä" * 150):
        assert log_in(WRONG, name=name).status_code == 200


def test_sessions_of_those_who_are_in_go_on(ada: User) -> None:
    client = Client(REMOTE_ADDR=HERE)
    client.force_login(ada)
    for _ in range(TRIES + 1):
        log_in(WRONG)
    assert client.get(reverse("console:studies")).status_code == 200
