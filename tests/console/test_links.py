"""Personal links for a mailing: whole, with their notes, of those who have one."""

from __future__ import annotations

import csv
import io

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Study
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.ratings import invite

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = make_ready_study(owner=make_admin("ada"), quota=8)
    open_study(study)
    return study


def rows(client: Client, study: Study) -> list[dict[str, str]]:
    answer = client.get(reverse("console:links_csv", args=[study.pk]))
    content = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(io.StringIO(content)))


def test_each_link_opens_its_persons_pages(client: Client, study: Study) -> None:
    client.force_login(study.owner)
    client.post(reverse("console:invite", args=[study.pk]), {"count": 2, "note": "=mail,\u00a0May"})
    invite(study, "grace")
    found = rows(client, study)
    assert [row["state"] for row in found] == ["invited"] * 3
    assert found[0]["note"] == "'=mail,\u00a0May"  # no spreadsheet takes it for a formula
    assert len({row["link"] for row in found}) == 3
    for row in found:
        assert row["link"].startswith("http://testserver/e/")
        assert Client().get(row["link"], follow=True).status_code == 200
    assert study.events.filter(action="links downloaded", actor=study.owner).exists()


def test_people_of_a_panel_and_simulations_have_none(client: Client, study: Study) -> None:
    invite(study, "grace")
    study.evaluators.update(simulated=True)
    client.force_login(study.owner)
    assert rows(client, study) == []


def test_another_admin_gets_nothing(client: Client, study: Study) -> None:
    client.force_login(make_admin("grace"))
    assert client.get(reverse("console:links_csv", args=[study.pk])).status_code == 404
