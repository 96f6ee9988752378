"""Pictures whose files are lost: made again with equal bytes, by the stages that read them and by the timed task."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from evenhand.errors import InputError
from evenhand.generation.memory import MemoryTooSmall
from evenhand.studies.models import Batch, CheckPair, Image, ImageScore, Pair, Stage, Study
from evenhand.studies.pipeline import lost_pictures, stages, tasks
from evenhand.studies.pipeline.remaking import NewImage
from tests.helpers.factories import make_draft, make_ready_study
from tests.helpers.stored import image_path

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = make_draft(name="Prepared with checks", practice_trials=1, attention_checks=3, subset_size=30)
    stages.prepare(study)
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY, list(study.stages.values_list("name", "error"))
    return study


def files(images: Any) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in {image_path(image.sha256) for image in images}}


@pytest.fixture
def lost_ones(monkeypatch: pytest.MonkeyPatch) -> dict[int, bytes]:
    """Three lost pictures of a ready study, and what they were; ``remake`` knows them without a model."""
    make_ready_study()
    images = list(lost_pictures.of_open_studies().filter(kind="generated").order_by("pk")[:3])
    before = {image.pk: image_path(image.sha256).read_bytes() for image in images}
    for image in images:
        Image.objects.filter(pk=image.pk).update(provenance={"number": image.pk})
        image_path(image.sha256).unlink()
    monkeypatch.setattr(lost_pictures, "remake", lambda record: NewImage(before[record["number"]], {}))
    return before


def failing(monkeypatch: pytest.MonkeyPatch, number: int, error: Exception) -> None:
    """Let one picture fail."""
    known = lost_pictures.remake

    def remake(record: Any) -> NewImage:
        if record["number"] == number:
            raise error
        return known(record)

    monkeypatch.setattr(lost_pictures, "remake", remake)


@pytest.mark.parametrize(
    "error",
    [MemoryTooSmall("cuda:0 has too little"), KeyError("heads"), ModuleNotFoundError("No module 'x'", name="x")],
    ids=lambda error: type(error).__name__,
)
def test_a_picture_that_fails_holds_up_no_other(
    lost_ones: dict[int, bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    first = min(lost_ones)
    failing(monkeypatch, first, error)
    assert tasks.restore_pictures() == 2
    assert [image.pk for image in lost_pictures.lost(lost_pictures.of_open_studies())] == [first]
    assert "Traceback" in caplog.text
    refused = lost_pictures.restore(Image.objects.filter(pk=first)).refused
    assert f"could not be made again: {type(error).__name__}: {error}" in refused[first]
    with pytest.raises(type(error)):  # in a stage it is a fault of the batch, which is tried again
        lost_pictures.ensure(Image.objects.filter(pk=first))


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left"), ModuleNotFoundError("No module named 'torch'", name="torch")],
    ids=["outage", "no models"],
)
def test_what_would_fail_all_ends_the_task(
    lost_ones: dict[int, bytes], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing(monkeypatch, min(lost_ones), error)
    with pytest.raises(type(error)):
        tasks.restore_pictures()
    assert len(lost_pictures.lost(lost_pictures.of_open_studies())) == 3


def test_lost_pictures_are_made_again_with_equal_bytes(study: Study) -> None:
    """One study for all of it, since its preparation takes long."""
    all_that_are_gone(study)
    what_cannot_be_made_again_is_said()
    for name in ("score", "measure", "checks", "differences"):
        what_a_stage_reads(study, name)


def all_that_are_gone(study: Study) -> None:
    """By the timed task: generated ones and damaged copies, a few of each kind."""
    open_ones = lost_pictures.of_open_studies().order_by("pk")
    images = [*open_ones.filter(kind="generated")[:3], *open_ones.filter(kind="altered")]
    assert {image.kind for image in images} == {"generated", "altered"}
    assert len({image.sha256 for image in images}) == len(images)
    before = files(images)
    for path in before:
        path.unlink()
    assert tasks.restore_pictures() == len(images)
    assert files(images) == before
    assert tasks.restore_pictures() == 0


def what_a_stage_reads(study: Study, name: str) -> None:
    in_pairs = Pair.objects.filter(comparison__study=study).values("baseline_image")
    baseline = Image.objects.filter(arm__in=study.comparisons.values("baseline")).order_by("pk")
    lost = list((baseline if name == "score" else baseline.filter(pk__in=in_pairs))[:2])  # that the stage reads
    before = files(lost)
    ImageScore.objects.all().delete()
    CheckPair.objects.all().delete()
    Pair.objects.update(largest_difference=None)
    stage = study.stages.get(name=name)
    Batch.objects.filter(stage=stage).delete()
    study.stages.filter(pk=stage.pk).update(state=Stage.State.WAITING, done=0)
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    for path in before:
        path.unlink()
    study.refresh_from_db()
    stages.advance(study)
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY, list(study.stages.values_list("name", "error"))
    assert files(lost) == before, name


def what_cannot_be_made_again_is_said() -> None:
    image = Image.objects.filter(kind="generated").first()
    assert image is not None
    data = image_path(image.sha256).read_bytes()
    image_path(image.sha256).unlink()
    image.provenance["seed"] += 1
    with pytest.raises(InputError, match="made again it has other bytes"):
        lost_pictures.ensure([image])
    image.kind = Image.Kind.UPLOADED
    result = lost_pictures.restore([image])
    assert result.restored == []
    assert "it was uploaded" in result.refused[image.pk]
    image_path(image.sha256).write_bytes(data)
