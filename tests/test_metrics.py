"""Figures for Prometheus: only where they are wanted, over all of gunicorn's processes, and of the database."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from evenhand.config.prometheus import metrics
from evenhand.studies.demonstration.processes import free_port, wait_until_it_answers
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Rating, Stage
from evenhand.studies.models.work import WorkerSign, WorkItem
from evenhand.studies.pipeline import stages
from tests.helpers.factories import make_draft, make_ready_study
from tests.helpers.json_logs import run
from tests.helpers.ratings import always, invite, rate_booklet

ROOT = Path(__file__).resolve().parent.parent


def figures(text: str) -> dict[tuple[str, str], float]:
    """Values by the sample's name and the values of its labels, in the order of their names."""
    return {
        (sample.name, " ".join(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def asked() -> dict[tuple[str, str], float]:
    return figures(metrics(RequestFactory().get("/metrics")).content.decode())


@pytest.mark.django_db
def test_figures_are_those_of_the_database() -> None:
    ready = make_ready_study()
    open_study(ready)
    rate_booklet(invite(ready, "Ada"), always(1))
    study = make_draft(name="In preparation")
    stages.prepare(study)
    WorkerSign.objects.create(name="one", queues="cpu,gpu", seen_at=timezone.now())
    WorkerSign.objects.create(name="two", queues="gpu", seen_at=timezone.now())
    WorkerSign.objects.create(name="gone", queues="gpu", seen_at=timezone.now() - timedelta(hours=1))
    with CaptureQueriesContext(connection) as queries:
        found = asked()
    assert len(queries) == 4 + len(WorkItem.__subclasses__())
    queue = Stage.objects.get(study=study, state="running").batches.get().queue
    assert found["evenhand_work_items", f"{queue} waiting"] == 1
    assert found["evenhand_work_items", f"{queue} leased"] == 0
    assert (found["evenhand_workers", "cpu"], found["evenhand_workers", "gpu"]) == (1, 2)
    assert (found["evenhand_studies", "collecting"], found["evenhand_studies", "preparing"]) == (1, 1)
    assert found["evenhand_ratings_stored", ""] == Rating.objects.count() > 0
    assert (found["evenhand_stages_failed", ""], found["evenhand_database_up", ""]) == (0, 1)
    Stage.objects.filter(study=study, state="running").update(state=Stage.State.FAILED)
    found = asked()
    assert (found["evenhand_stages_failed", ""], found["evenhand_work_items", f"{queue} waiting"]) == (1, 0)


def test_there_is_no_such_page_unless_it_is_turned_on(client: Client) -> None:
    assert client.get("/metrics").status_code == 404


def test_the_proxy_shows_no_figures() -> None:
    template = (ROOT / "deploy" / "nginx.conf.template").read_text()
    block = template.split("location = /metrics {")[1].split("}")[0]
    assert "return 404;" in block
    assert "proxy_pass" not in block


@pytest.mark.django_db(transaction=True)
def test_processes_of_a_server_are_counted_together(tmp_path: Path) -> None:
    """By the view's name, without the address; and to a proxy there is no such page."""
    port, log = free_port(0), tmp_path / "server.log"
    command = [sys.executable, "-m", "gunicorn", "--config", "python:evenhand.config.serving", "evenhand.config.wsgi"]
    server = run([*command, f"--bind=127.0.0.1:{port}", "--workers=2"], log, EVENHAND_METRICS="1", TMPDIR=str(tmp_path))
    try:
        base = f"http://127.0.0.1:{port}"
        wait_until_it_answers(f"{base}/healthz", server, log)
        before = figures(httpx.get(f"{base}/metrics").text)
        for _ in range(20):
            assert httpx.get(f"{base}/console/login/").status_code == 200
        httpx.get(f"{base}/e/not-a-token/")
        httpx.get(f"{base}/nowhere")
        text = httpx.get(f"{base}/metrics").text
        assert httpx.get(f"{base}/metrics", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 404
    finally:
        server.terminate()
        server.wait(timeout=20)
    found = figures(text)
    assert ("evenhand_request_seconds_count", "GET 200 console:login") not in before
    assert found["evenhand_request_seconds_count", "GET 200 console:login"] == 20
    assert found["evenhand_request_seconds_sum", "GET 200 console:login"] > 0
    assert found["evenhand_request_seconds_count", "GET 404 none"] == 1
    assert (
        sum(value for (name, labels), value in found.items() if labels.startswith("GET 404") and "_count" in name) == 2
    )
    assert found["evenhand_database_up", ""] == 1
    assert "not-a-token" not in text
    assert list(tmp_path.glob("evenhand-measured-*")) == []
