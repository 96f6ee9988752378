"""A stage with batches, and handlers that do nothing or fail, for tests of the queue."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.work import queue
from evenhand.studies.work.queue import Claim, Handler
from tests.helpers.factories import make_draft

in_files_or_on_a_server = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="a database in memory ends with its connection"
)


def make_stage(count: int = 3, size: int = 2) -> Stage:
    study = make_draft()
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    stage = Stage.objects.create(study=study, name="curve", position=0, state=Stage.State.RUNNING, total=count * size)
    Batch.objects.bulk_create(Batch(stage=stage, number=n, total=size) for n in range(count))
    return stage


def claimed() -> Batch:
    batch = queue.claim(Batch, "cpu")
    assert batch is not None
    return batch


def expire(batch: Batch) -> None:
    Batch.objects.filter(pk=batch.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def nothing(claim: Claim[Batch]) -> None:
    """Do no work."""


def raising(error: Exception) -> Handler[Batch]:
    def run(claim: Claim[Batch]) -> None:
        raise error

    return Handler(run)
