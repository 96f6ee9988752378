"""How many people may come in by an enrolment link within an hour: counted by all processes, and of no address."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone

from evenhand.studies.access import enrolment_link, link_for
from evenhand.studies.arrivals import seconds_to_wait
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Arrivals, Evaluator, Study
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = [pytest.mark.django_db, pytest.mark.database]

UNIVERSITY, HOME = "93.184.215.14", "192.0.43.8"
NOON = datetime.fromisoformat("2026-11-28T12:20:00+00:00")


@pytest.fixture
def study() -> Study:
    study = make_ready_study(quota=4)
    open_study(study)
    return study


@pytest.fixture(autouse=True)
def _limits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ARRIVALS_PER_ADDRESS, settings.ARRIVALS_PER_LINK = 2, 3
    monkeypatch.setattr(timezone, "now", lambda: NOON)


def come(study: Study, address: str = UNIVERSITY, language: str = "en", **ids: str) -> Any:
    client = Client(REMOTE_ADDR=address, headers={"accept-language": language})
    return client.post(enrolment_link(study), ids)


def test_who_comes_after_too_many_is_told_when_to_come_again(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [come(study).status_code for _ in range(2)] == [302, 302]
    refused = come(study)
    assert (refused.status_code, refused["Retry-After"]) == (429, "2401")
    assert "open the same link again in 41 minutes" in refused.content.decode()
    assert refused["Referrer-Policy"] == "no-referrer"
    assert Evaluator.objects.count() == 2
    monkeypatch.setattr(timezone, "now", lambda: NOON + timedelta(seconds=2401))
    assert come(study).status_code == 302  # by the same link
    assert {row.hour.hour for row in Arrivals.objects.all()} == {13}  # what is over is deleted


def test_the_page_speaks_german(study: Study) -> None:
    for _ in range(2):
        come(study)
    assert "Bitte öffnen Sie denselben Link in 41 Minuten noch einmal" in come(study, language="de").content.decode()


def test_programs_are_told_in_json(study: Study) -> None:
    for _ in range(2):
        come(study)
    answer = Client(REMOTE_ADDR=UNIVERSITY).post(enrolment_link(study), headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["reason"]) == (429, "too_many")


def test_a_link_is_limited_from_all_addresses_together_and_another_studys_is_not(study: Study) -> None:
    assert [come(study, f"192.0.43.{i}").status_code for i in range(4)] == [302, 302, 302, 429]
    other = make_ready_study(name="Other", quota=4, owner=make_admin("grace"))
    open_study(other)
    assert come(other, "192.0.43.9").status_code == 302


def test_looking_and_coming_back_count_nothing(study: Study) -> None:
    client = Client(REMOTE_ADDR=UNIVERSITY)
    address = enrolment_link(study)
    assert all(client.get(address).status_code == 200 for _ in range(5))
    assert not Arrivals.objects.exists()
    assert client.post(address).status_code == 302
    mine = link_for(Evaluator.objects.get())
    for _ in range(5):
        assert client.post(address)["Location"].startswith(mine)  # this browser's cookie
    ids = {"PROLIFIC_PID": "a1", "SESSION_ID": "s1"}
    assert all(come(study, HOME, **ids).status_code == 302 for _ in range(5))
    assert sorted(Arrivals.objects.values_list("count", flat=True)) == [1, 1, 2]


def test_trying_out_panel_ids_counts(study: Study) -> None:
    come(study, HOME, PROLIFIC_PID="a1")
    Evaluator.objects.update(consented_at=NOON)
    tries = [come(study, PROLIFIC_PID="a1").status_code for _ in range(3)]
    assert tries == [403, 403, 429]


def test_two_hundred_of_one_university_come_in_by_default(study: Study, settings: Any) -> None:
    settings.ARRIVALS_PER_ADDRESS, settings.ARRIVALS_PER_LINK = 500, 5000
    request = RequestFactory().post("/", REMOTE_ADDR=UNIVERSITY)
    assert {seconds_to_wait(request, study) for _ in range(200)} == {0}


def test_nothing_is_counted_where_nothing_is_limited(study: Study, settings: Any) -> None:
    settings.ARRIVALS_PER_ADDRESS = settings.ARRIVALS_PER_LINK = 0
    assert all(come(study).status_code == 302 for _ in range(4))
    assert not Arrivals.objects.exists()


def test_people_behind_a_proxy_that_nobody_told_of_are_not_taken_for_one(study: Study, settings: Any) -> None:
    settings.ARRIVALS_PER_LINK = 9
    client = Client(REMOTE_ADDR="10.0.0.2", headers={"X-Forwarded-For": HOME})
    for _ in range(4):
        assert client.post(enrolment_link(study)).status_code == 302
        client.cookies.clear()


def test_no_address_is_stored(study: Study) -> None:
    come(study)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            assert UNIVERSITY not in repr(cursor.fetchall()), table


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_no_more_come_in_than_may(study: Study, settings: Any) -> None:
    settings.ARRIVALS_PER_ADDRESS = 5

    def arrive(number: int) -> bool:
        try:
            return seconds_to_wait(RequestFactory().post("/", REMOTE_ADDR=UNIVERSITY), study) == 0
        finally:
            connection.close()

    settings.ARRIVALS_PER_LINK = 100
    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(arrive, range(24))) == {True: 5, False: 19}
