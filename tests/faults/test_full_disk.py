"""A disk that is really full: a small tmpfs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evenhand.studies.image_store import store_image
from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.work import queue
from evenhand.studies.work.queue import Claim, Handler
from tests.helpers.factories import make_draft
from tests.helpers.faults.disk import SmallDisk
from tests.helpers.faults.services import MissingError
from tests.helpers.faults.small import long_run
from tests.helpers.stored import image_path


@pytest.fixture
def disk(tmp_path: Path, settings: Any) -> Iterator[SmallDisk]:
    """The pictures' disk."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    settings.MEDIA_ROOT = tmp_path
    try:
        with SmallDisk(tmp_path) as disk:
            yield disk
    except MissingError as missing:
        pytest.skip(str(missing))


@pytest.mark.django_db
def test_work_waits_for_room_and_leaves_no_half_file(disk: SmallDisk, settings: Any) -> None:
    settings.BACKOFF_SECONDS = 1e-6
    study = make_draft()
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    stage = Stage.objects.create(study=study, name="baseline", position=0, state=Stage.State.RUNNING, total=1)
    Batch.objects.create(stage=stage, number=0, total=1)
    data = os.urandom(200_000)
    stored: list[str] = []

    def store(claim: Claim[Batch]) -> None:
        stored.append(store_image(data))

    disk.fill()
    assert queue.work_through({Batch: Handler(store)}) == 0
    batch = Batch.objects.get()
    assert (batch.state, batch.outages, batch.errors) == ("waiting", 1, 0)
    assert os.strerror(errno.ENOSPC) in batch.error
    assert [path for path in disk.folder.rglob("*") if path.is_file()] == []
    disk.enlarge()
    assert queue.work_through({Batch: Handler(store)}) == 1
    assert image_path(stored[0]).read_bytes() == data


@pytest.mark.slow
def test_pictures_and_answers_survive_a_full_disk(tmp_path: Path) -> None:
    runs = long_run("full_disk", tmp_path, 8)
    assert all(run["differences"] == [] for run in runs)
