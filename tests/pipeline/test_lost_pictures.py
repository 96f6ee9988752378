"""Pictures whose files are lost: made again with equal bytes, by the stages that read them and by the timed task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evenhand.errors import InputError
from evenhand.studies.models import Batch, CheckPair, Image, ImageScore, Pair, Stage, Study
from evenhand.studies.pipeline import lost_pictures, stages, tasks
from tests.helpers.factories import make_draft
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
