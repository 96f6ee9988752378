"""Messages that come twice, late and out of order; ``tests.work.test_queue`` holds the short versions of claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.pipeline import stages, tasks
from evenhand.studies.work.queue import Claim, Handler
from tests.helpers.factories import make_draft
from tests.helpers.faults.small import long_run


@pytest.mark.django_db
def test_a_message_for_work_that_is_done_or_is_no_longer_there_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_draft()
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    stage = Stage.objects.create(study=study, name="baseline", position=0, state=Stage.State.RUNNING, total=3)
    Batch.objects.bulk_create(Batch(stage=stage, number=number, queue="gpu") for number in range(3))
    run: list[int] = []

    def work(claim: Claim[Batch]) -> None:
        run.append(claim.item.number)

    monkeypatch.setattr(stages, "advance_idle", lambda: None)  # what comes next would need the models
    monkeypatch.setattr(tasks, "HANDLERS", {Batch: Handler(work)})
    assert [tasks.work("cpu"), tasks.work("gpu"), tasks.work("gpu"), tasks.work("cpu")] == [0, 3, 0, 0]
    assert run == [0, 1, 2]
    Study.objects.get(pk=study.pk).stages.all().delete()
    assert tasks.work("gpu") == 0


@pytest.mark.slow
def test_pictures_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    runs = long_run("repeated_tasks", tmp_path, 10)
    assert [run["differences"] for run in runs] == [[], []]
