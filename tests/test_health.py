"""Two addresses for whoever keeps the service running: does the process live, and can it serve."""

from __future__ import annotations

import pytest
from django.db import OperationalError
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.urls import reverse

from evenhand.config import urls


def test_a_living_process_answers_without_the_database() -> None:
    answer = Client().get(reverse("healthz"))
    assert (answer.status_code, answer.content) == (200, b"ok\n")


@pytest.mark.django_db
def test_a_process_is_ready_when_its_tables_are_this_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Client().get(reverse("readyz")).status_code == 200
    MigrationRecorder.Migration.objects.filter(app="studies").order_by("-pk").first().delete()  # type: ignore[union-attr]
    answer = Client().get(reverse("readyz"))
    assert answer.status_code == 503
    assert b"migrations are to be applied" in answer.content

    def no_answer(_connection: object) -> None:
        raise OperationalError("password of the database: hunter2")

    monkeypatch.setattr(urls, "MigrationExecutor", no_answer)
    answer = Client().get(reverse("readyz"))
    assert (answer.status_code, answer.content) == (503, b"the database does not answer\n")
