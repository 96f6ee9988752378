"""What beat sends each minute: it finds work that nobody is at."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.pipeline import tasks
from tests.helpers.factories import make_ready_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def stage() -> Stage:
    """The first stage of a preparation, of a kind that loads no model."""
    study = make_ready_study()
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    return Stage.objects.create(study=study, name="pairs", position=0, total=1)


def test_a_stage_that_nobody_began_is_begun(stage: Stage) -> None:
    """As after a worker that ended between two stages."""
    assert tasks.resume() == ["cpu"]
    assert Batch.objects.get(stage=stage).state == Batch.State.WAITING


def test_a_queue_is_told_of_work_whose_worker_disappeared(stage: Stage) -> None:
    Stage.objects.filter(pk=stage.pk).update(state=Stage.State.RUNNING)
    end = timezone.now() + timedelta(minutes=1)
    batch = Batch.objects.create(stage=stage, number=0, state=Batch.State.LEASED, holder=uuid4(), lease_until=end)
    assert tasks.resume() == []
    Batch.objects.filter(pk=batch.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert tasks.resume() == ["cpu"]
