"""``manage.py doctor``: each thing that can be wrong is found and said, and what can be repaired is repaired."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.migrations.recorder import MigrationRecorder

from evenhand.studies import doctor
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Batch, Image, Rating, Recipe, Stage, Study
from evenhand.studies.pipeline import stages
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
