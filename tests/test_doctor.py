"""``manage.py doctor``: each thing that can be wrong is found and said, and what can be repaired is repaired."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from evenhand.studies import doctor, image_store, undo
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Batch, Image, Rating, Recipe, Stage, Study
from evenhand.studies.pipeline import lost_pictures, stages
from evenhand.studies.pipeline.remaking import NewImage
from tests.helpers.factories import make_draft, make_ready_study
from tests.helpers.ratings import always, invite, rate_booklet
from tests.helpers.stored import image_path

pytestmark = pytest.mark.django_db


def report(*arguments: str) -> tuple[str, bool]:
    """What the command prints, and whether it ends well."""
    output = io.StringIO()
    try:
        call_command("doctor", *arguments, stdout=output)
    except CommandError as error:
        return f"{output.getvalue()}{error}", False
    return output.getvalue(), True


def wrong(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("WRONG")]


@pytest.fixture
def prepared(settings: Any) -> Study:
    settings.BACKOFF_SECONDS = 1e-6
    study = make_draft(name="Prepared", subset_size=24)
    stages.prepare(study)
    stages.work_through()
    study.refresh_from_db()
    assert study.state == Study.State.READY
    return study


def test_a_sound_installation_is_well(prepared: Study) -> None:
    text, well = report()
    assert well, text
    assert "48 recorded, 0 lost, 0 damaged" in text
    assert text.endswith("All is well.\n")


def test_lost_and_damaged_pictures_are_found_and_made_again_with_equal_bytes(prepared: Study) -> None:
    lost, damaged = Image.objects.order_by("pk")[:2]
    before = {path: path.read_bytes() for path in (image_path(lost.sha256), image_path(damaged.sha256))}
    image_path(lost.sha256).unlink()
    image_path(damaged.sha256).write_bytes(b"half a picture")
    text, well = report()
    assert (wrong(text), well) == (["WRONG pictures   48 recorded, 1 lost, 1 damaged"], False)
    text, well = report("--repair")
    assert well, text
    assert "2 made again with equal bytes" in text
    assert {path: path.read_bytes() for path in before} == before


def test_files_without_a_record_are_removed_when_they_are_older_than_a_day(prepared: Study) -> None:
    young, old = (image_path(digit * 64) for digit in "ef")
    for path in (young, old):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"nobody's")
    os.utime(old, (time.time() - 90_000,) * 2)
    text, well = report()
    assert (wrong(text), well) == (["WRONG files      2 without a record, 1 of them older than a day"], False)
    assert report("--repair")[1]
    assert (young.exists(), old.exists()) == (True, False)
    assert all(image_path(image.sha256).exists() for image in Image.objects.all())


@pytest.fixture
def damaged() -> list[Image]:
    """Two pictures of a ready study, and an uploaded one, whose files have a byte too many."""
    make_ready_study()
    images = list(Image.objects.filter(kind="generated").order_by("pk")[:3])
    Image.objects.filter(pk=images[2].pk).update(kind=Image.Kind.UPLOADED)
    for image in images:
        path = image_path(image.sha256)
        path.write_bytes(path.read_bytes() + b"\0")
    return images


def lacks_torch(_: object) -> NewImage:
    raise ModuleNotFoundError("No module named 'torch'", name="torch")


def other_bytes(_: object) -> NewImage:
    return NewImage(b"another picture", {})


def fails(_: object) -> NewImage:
    raise KeyError("heads")


@pytest.mark.parametrize(
    ("remake", "said"),
    [
        (lacks_torch, "No module named 'torch': run doctor --repair where a worker runs"),
        (other_bytes, "made again it has other bytes"),
        (fails, "could not be made again: KeyError: 'heads'"),
    ],
)
def test_a_damaged_picture_that_cannot_be_made_again_stays(
    damaged: list[Image], monkeypatch: pytest.MonkeyPatch, remake: Any, said: str
) -> None:
    monkeypatch.setattr(lost_pictures, "remake", remake)
    findings = list(doctor.examine(repair=True))
    text = "\n".join(finding.text for finding in findings if finding.subject == "pictures")
    assert "0 made again with equal bytes, 3 not" in text
    assert said in text
    assert "it was uploaded" in text
    assert findings[-1].subject == "work"  # the later checks run
    for image in damaged:
        assert image_path(image.sha256).exists()
        assert not image_path(image.sha256).with_suffix(".damaged").exists()


def test_one_damaged_picture_is_mended_though_another_fails(
    damaged: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = damaged[:2]
    data = image_path(good.sha256).read_bytes()
    Image.objects.filter(pk=good.pk).update(provenance={"good": True})
    monkeypatch.setattr(
        lost_pictures, "remake", lambda record: NewImage(data[:-1], {}) if "good" in record else fails(record)
    )
    assert "1 made again with equal bytes, 2 not" in [finding.text for finding in doctor.pictures(True)]
    assert image_path(good.sha256).read_bytes() == data[:-1]
    assert image_path(good.sha256).with_suffix(".damaged").read_bytes() == data
    assert image_path(bad.sha256).exists()


def test_a_check_that_ends_early_is_told_and_the_next_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_: str) -> bool:
        raise PermissionError(13, "Permission denied")

    make_ready_study()
    monkeypatch.setattr(image_store, "is_intact", unreadable)
    findings = list(doctor.examine())
    assert [f.text for f in findings if f.subject == "pictures"] == [
        "this check ended early: PermissionError: [Errno 13] Permission denied"
    ]
    assert findings[-1].subject == "work"


@pytest.fixture
def two_days_old() -> str:
    """The hash of a file without a record, which an attempt left behind."""
    sha256 = image_store.store_image(b"of an attempt that failed")
    os.utime(image_path(sha256), (time.time() - 172_800,) * 2)
    return sha256


def test_a_file_that_is_drawn_again_is_not_removed_before_its_row_is_written(
    two_days_old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where it is stored before the doctor lists the files, nor after."""
    listed = list(image_store.stored_files())
    image_store.store_image(b"of an attempt that failed")
    list(doctor.orphans(True))
    assert image_path(two_days_old).exists()
    monkeypatch.setattr(image_store, "stored_files", lambda: listed)
    assert [finding.text for finding in doctor.orphans(True)][1:] == ["0 removed"]
    assert image_path(two_days_old).exists()


def test_a_file_whose_row_is_written_while_the_doctor_looks_is_not_removed(
    two_days_old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready_study()
    listing = image_store.stored_files

    def meanwhile() -> Any:
        yield from list(listing())
        image = Image.objects.first()
        assert image is not None
        Image.objects.filter(pk=image.pk).update(sha256=two_days_old)

    monkeypatch.setattr(image_store, "stored_files", meanwhile)
    list(doctor.orphans(True))
    assert image_path(two_days_old).exists()


def test_a_changed_answer_is_found() -> None:
    study = make_ready_study()
    open_study(study)
    rate_booklet(invite(study, "Ada"), always(1))
    rating = Rating.objects.order_by("pk")[1]
    assert next(doctor.chains(False)).well
    Rating.objects.filter(pk=rating.pk).update(elapsed_ms=1)
    findings = list(doctor.chains(False))
    assert [finding.well for finding in findings] == [False, False]
    assert "its content is not what was written" in findings[1].text


def test_a_checkpoint_that_changed_is_found(prepared: Study) -> None:
    Recipe.objects.update(revision="0" * 64)
    assert wrong(report()[0]) == ["WRONG checkpoint demo is not what it was"]


def test_stopped_work_is_found_and_tried_again(settings: Any) -> None:
    study = make_draft(name="Stopped")
    stages.prepare(study)
    Batch.objects.update(state="failed", error="no disk", errors=3)
    Stage.objects.filter(study=study, name="prompts").update(state=Stage.State.FAILED, error="no disk")
    text, well = report()
    assert (wrong(text), well) == (["WRONG work       “Stopped” stopped: prompts: no disk"], False)
    text, well = report("--repair")
    assert well, text
    assert "1 batches are tried again" in text
    assert Batch.objects.get().state == Batch.State.WAITING


def test_what_an_admin_stopped_is_left_as_it_is() -> None:
    study = make_draft(name="Stopped on purpose")
    stages.prepare(study)
    undo.stop_preparation(study)
    text, well = report("--repair")
    assert well, text
    assert "“Stopped on purpose” was stopped by an admin" in text
    assert set(Batch.objects.values_list("state", flat=True)) == {Batch.State.FAILED}


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(20)
        yield listener.getsockname()[1]


def test_a_silent_broker_is_found_in_seconds(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from celery import Celery

    from evenhand.config.celery import SHORT_WAITS

    app = Celery("silent", broker=f"redis://127.0.0.1:{silent}/0", broker_transport_options=SHORT_WAITS)
    monkeypatch.setattr(doctor, "current_app", app)
    begin = time.monotonic()
    (finding,) = doctor.broker(False)
    assert not finding.well
    assert "it does not answer" in finding.text
    assert time.monotonic() - begin < 20  # without the short waits it is over 40


def test_whoever_sends_work_does_not_wait_for_a_silent_broker(
    silent: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from celery import Celery

    from evenhand.config.celery import SHORT_WAITS
    from evenhand.studies.work import notify

    app = Celery("silent", broker=f"redis://127.0.0.1:{silent}/0", broker_transport_options=SHORT_WAITS)
    monkeypatch.setattr(notify, "current_app", app)
    begin = time.monotonic()
    notify.notify("cpu")
    assert "the work waits until a worker looks" in caplog.text
    assert time.monotonic() - begin < 20


def test_a_folder_that_cannot_be_written_and_a_full_disk_are_found(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    settings.MEDIA_ROOT = tmp_path / "file"
    (finding,) = doctor.storage(False)
    assert (finding.well, finding.text) == (False, f"{tmp_path / 'file'} cannot be written: File exists")
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(doctor, "LEAST_FREE", 2**60)
    (finding,) = doctor.storage(False)
    assert not finding.well
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_missing_tables_end_the_checks_that_need_them() -> None:
    MigrationRecorder.Migration.objects.filter(app="studies").order_by("-pk").first().delete()  # type: ignore[union-attr]
    findings = list(doctor.examine())
    assert [finding.subject for finding in findings] == ["database", "broker", "storage"]
    assert findings[0].text == "1 migrations are missing: run manage.py migrate"


@pytest.mark.database
def test_a_clock_that_is_not_the_database_s_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now
    if connection.vendor != "postgresql":
        assert list(doctor.clock(False)) == []  # a file has no clock of its own
        return
    assert [finding.well for finding in doctor.clock(False)] == [True]
    for seconds, told in ((91, "91.0 s ahead of"), (-300, "300.0 s behind")):
        monkeypatch.setattr(timezone, "now", lambda seconds=seconds: now() + timedelta(seconds=seconds))
        [finding] = doctor.clock(False)
        assert (finding.well, told in finding.text) == (False, True)
