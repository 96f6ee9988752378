"""Lines of a real server and of a real worker as JSON, with the ids by which they are found, and without tokens."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from evenhand.config.observability import json_lines, logging_as
from evenhand.studies.access import link_for
from evenhand.studies.demonstration.processes import free_port, wait_until_it_answers, worker_command
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Batch, Stage, Study, Trial
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.factories import make_ready_study
from tests.helpers.json_logs import lines_of, run
from tests.helpers.servers import wait_for
from tests.helpers.stored import image_path

TOKEN = "kKq2xJ0NnQ3d7hVb-3f1c5e9a7b2d4f60"


@pytest.mark.django_db(transaction=True)
def test_a_server_writes_json_with_the_requests_id_and_the_study(tmp_path: Path, settings: Any) -> None:
    settings.MEDIA_ROOT = settings.VAR / "images"
    study = make_ready_study()
    open_study(study)
    person = enrol(study)
    consent(person)
    trial = Trial.objects.get(booklet__evaluator=person, position=1)
    image_path(trial.left_image.sha256).unlink()
    port, log = free_port(0), tmp_path / "server.log"
    command = [sys.executable, "-m", "gunicorn", "--config", "python:evenhand.config.serving", "evenhand.config.wsgi"]
    server = run([*command, f"--bind=127.0.0.1:{port}", "--threads=2", "--access-logfile=-"], log)
    try:
        base = f"http://127.0.0.1:{port}"
        wait_until_it_answers(f"{base}/healthz", server, log)
        assert httpx.get(f"{base}/j/{TOKEN}/", headers={"X-Request-ID": "0123456789abcdef"}).status_code == 404
        shown = httpx.get(base + link_for(person), headers={"Accept": "application/json"}).json()["trial"]
        assert httpx.get(base + shown["left"], headers={"X-Request-ID": "two\twords"}).status_code == 404
    finally:
        server.terminate()
        server.wait(timeout=20)
    lines = lines_of(log)
    text = log.read_text()
    assert TOKEN not in text
    assert link_for(person).strip("/").split("/")[1] not in text
    assert "gunicorn.error" in {line["logger"] for line in lines}  # from its first line on
    assert next(line["message"] for line in lines if line["logger"] == "gunicorn.access").count("healthz") == 1
    unknown, lost = (line for line in lines if line["logger"] == "django.request")
    assert unknown["request_id"] == "0123456789abcdef"
    assert unknown["message"] == "Not Found: /j/…/"
    assert "study" not in unknown
    assert (lost["study"], lost["status_code"]) == (study.pk, 404)
    assert len(lost["request_id"]) == 32


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_a_worker_writes_json_with_study_stage_batch_and_task(tmp_path: Path) -> None:
    """Of a stage that loads no model."""
    study = make_ready_study()
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    stage = Stage.objects.create(study=study, name="pairs", position=0, state=Stage.State.RUNNING, total=1)
    batch = Batch.objects.create(stage=stage, number=7)
    log = tmp_path / "worker.log"
    python, module, celery, *options = worker_command()
    worker = run([python, module, celery, "--quiet", *options], log, CELERY_BROKER_URL=settings.CELERY_BROKER_URL)
    try:
        wait_for(lambda: Study.objects.filter(pk=study.pk, state=Study.State.READY).exists(), worker, log)
    finally:
        worker.terminate()
        worker.wait(timeout=30)
    lines = lines_of(log)
    done = next(line for line in lines if line["message"].startswith(f"batch 7 of stage {stage.pk} is done"))
    assert (done["study"], done["stage"], done["batch"]) == (study.pk, stage.pk, batch.pk)
    assert len(done["task"]) == 36
    assert done["logger"] == "evenhand.studies.work.queue"


def test_only_known_fields_are_written_and_tracebacks_hold_no_token() -> None:
    formatter = json_lines()
    try:
        raise ValueError(f'a “quoted" /e/{TOKEN}/rate/ address')
    except ValueError:
        record = logging.LogRecord("django.request", logging.ERROR, __file__, 1, "Fault", None, sys.exc_info())
    record.request = f"<WSGIRequest: GET '/e/{TOKEN}/'>"
    line = json.loads(formatter.format(record))
    assert set(line) == {"time", "level", "logger", "message", "exc_info"}
    assert line["exc_info"].endswith("/e/…/rate/ address")


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="EVENHAND_LOG must be plain or json, not 'xml'"):
        logging_as("xml")
