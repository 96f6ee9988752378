"""Migrations of a populated database, forward and backward."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


def migrate(name: str | None) -> MigrationExecutor:
    executor = MigrationExecutor(connection)
    target = ("studies", name) if name else executor.loader.graph.leaf_nodes("studies")[0]
    executor.migrate([target])
    return MigrationExecutor(connection)


def test_sampling_runs_and_batches_come_into_one_queue_and_back() -> None:
    """PostgreSQL refuses to alter a table in which the same transaction has changed rows with open checks."""
    try:
        apps = migrate("0002_evaluators_way").loader.project_state([("studies", "0002_evaluators_way")]).apps
        prompt_set = apps.get_model("studies", "PromptSet").objects.create(name="Set", sha256="0" * 64, count=1)
        runs = apps.get_model("studies", "SamplingRun").objects
        lease = {"holder": uuid4(), "lease_until": timezone.now()}
        for state, values in (("waiting", {}), ("running", lease), ("running", {"done": 9, "total": 5})):
            runs.create(prompt_set=prompt_set, state=state, **values)
        migrate(None)
        from evenhand.studies.models import SamplingRun

        found = SamplingRun.objects.order_by("pk").values_list("state", "queue", "done")
        assert list(found) == [("waiting", "gpu", 0), ("leased", "gpu", 0), ("waiting", "gpu", 5)]
        migrate("0002_evaluators_way")
        assert list(runs.order_by("pk").values_list("state", flat=True)) == ["waiting", "running", "waiting"]
    finally:
        migrate(None)
