"""Alarms: each begins and ends with its cause, is sent once, and costs the same queries for any number of studies."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import AlarmNotice, Batch, Rating, Stage, Study, Trial, WorkerSign
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.watching import alarms, delivery
from evenhand.studies.watching.alarms import of_collection
from evenhand.studies.watching.collection import Cell
from evenhand.studies.watching.delivery import send_alarms
from evenhand.studies.watching.preparation import mark_progress, stage_line
from evenhand.studies.work import signs
from tests.helpers.factories import make_admin, make_draft, make_ready_study
from tests.helpers.ratings import queries_of, record_rating

pytestmark = pytest.mark.django_db


def preparing(name: str = "Shapes", **values: Any) -> Stage:
    study = make_draft(name=name)
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    given = {"name": "baseline", "position": 0, "state": Stage.State.RUNNING, "total": 90, "done": 30} | values
    return Stage.objects.create(study=study, started_at=timezone.now() - timedelta(hours=1), **given)


def collecting(people: int = 2, **changes: Any) -> Study:
    """A study of whose evaluators each has answered every main trial."""
    study = make_ready_study(owner=make_admin("ada"), quota=12, **changes)
    open_study(study)
    for _ in range(people):
        person = enrol(study)
        consent(person)
        for trial in Trial.objects.filter(booklet__evaluator=person, kind="main").order_by("position"):
            record_rating(evaluator=person, trial_id=trial.public_id, choice=1, key=uuid.uuid4(), elapsed_ms=4000)
    return study


def keys(study: Study) -> list[str]:
    return [alarm.key for alarm in alarms.find(Study.objects.filter(pk=study.pk)).get(study.pk, [])]


def test_a_sign_of_life_is_written_twice_a_minute_at_most_and_ends_the_alarm() -> None:
    stage = preparing()
    assert keys(stage.study) == ["no_worker"]
    assert signs.give("cpu")
    assert keys(stage.study) == ["no_worker"]  # baseline images need the queue gpu
    assert not signs.give("cpu,gpu")
    WorkerSign.objects.update(seen_at=timezone.now() - timedelta(seconds=31))
    assert signs.give("cpu,gpu", busy=True)
    assert keys(stage.study) == []
    assert WorkerSign.objects.get().busy
    WorkerSign.objects.update(seen_at=timezone.now() - timedelta(minutes=6))
    assert keys(stage.study) == ["no_worker"]


def test_the_rate_is_that_of_the_last_minutes() -> None:
    stage = preparing()
    assert not stage_line(stage).recent
    Stage.objects.filter(pk=stage.pk).update(marks=[[time.time() - 4000, 0], [time.time() - 100, 10]])
    mark_progress()
    stage.refresh_from_db()
    assert [done for _, done in stage.marks] == [10, 30]  # the older one is forgotten
    line = stage_line(stage)
    assert line.recent
    assert line.rate == pytest.approx(0.2, rel=0.05)
    assert line.left == pytest.approx(300, rel=0.05)
    mark_progress()
    stage.refresh_from_db()
    assert len(stage.marks) == 2


def test_a_stage_that_stands_still_and_one_that_failed() -> None:
    signs.give("cpu,gpu")
    stage = preparing(marks=[[time.time() - 580, 30], [time.time() - 20, 30]])
    assert keys(stage.study) == ["still"]
    Stage.objects.filter(pk=stage.pk).update(done=31)
    assert keys(stage.study) == []
    Stage.objects.filter(pk=stage.pk).update(state=Stage.State.FAILED, error="the checkpoint is gone")
    assert (
        "the checkpoint is gone"
        in alarms.find([stage.study, Study.objects.get(pk=stage.study_id)])[stage.study_id][0].text
    )


def test_a_stage_behind_another_study_does_not_stand_still() -> None:
    """Its batches wait for their turn; whose turn it is, or whose batch a worker holds, is told."""
    stood = {"done": 0, "marks": [[time.time() - 580, 0], [time.time() - 20, 0]]}
    first, second = preparing("First"), preparing("Second", **stood)
    earlier, later = (stage.batches.create(number=0, queue="gpu", total=10) for stage in (first, second))
    signs.give("cpu,gpu", busy=True)
    assert keys(second.study) == []
    Batch.objects.filter(pk=later.pk).update(state="leased", holder=uuid.uuid4(), lease_until=timezone.now())
    assert keys(second.study) == ["still"]
    Batch.objects.filter(pk=later.pk).update(state="waiting", holder=None, lease_until=None)
    assert keys(second.study) == []
    Batch.objects.filter(pk=earlier.pk).update(queue="cpu")
    assert keys(second.study) == ["still"]
    Batch.objects.filter(pk=earlier.pk).update(queue="gpu", state="done")
    assert keys(second.study) == ["still"]
    Stage.objects.filter(pk=first.pk).update(**stood)
    Batch.objects.filter(pk=earlier.pk).update(state="waiting")
    assert (keys(first.study), keys(second.study)) == (["still"], [])


def test_many_stages_that_stand_cost_one_query_more() -> None:
    signs.give("cpu,gpu")
    stood = {"done": 0, "marks": [[time.time() - 580, 0], [time.time() - 20, 0]]}
    preparing("One", **stood)
    few = queries_of(lambda: alarms.find(Study.objects.all()))
    preparing("Two", **stood)
    assert queries_of(lambda: alarms.find(Study.objects.all())) == few == 4  # one of them reads the studies


def test_fast_answers_and_an_answer_that_is_gone() -> None:
    study = collecting()
    assert keys(study) == []
    ratings = list(Rating.objects.order_by("pk"))
    assert len(ratings) == 24
    Rating.objects.filter(pk__in=[rating.pk for rating in ratings[:5]]).update(elapsed_ms=120)
    assert keys(study) == ["fast"]
    ratings[3].delete()
    assert keys(study) == ["lost"]  # and four of 23 are not above a fifth
    study.state = Study.State.CLOSED
    assert alarms.find([study]) == {}


def test_cells_out_of_balance_are_told_from_chance() -> None:
    def found(*answers: int, left: int = 0) -> list[str]:
        cells = [Cell(n, "all", 0, count, left or count // 2, 0) for n, count in enumerate(answers)]
        return [alarm.key for alarm in of_collection(cells, [])]

    assert found(100, 100, 90) == []
    assert found(100, 100, 20) == ["balance"]
    assert found(3, 0, 0) == []  # too few to say
    assert found(100, left=90) == ["balance"]


def test_queries_do_not_grow_with_the_studies() -> None:
    preparing("One")
    collecting(1)
    few = queries_of(lambda: alarms.find(Study.objects.all()))
    preparing("Two")
    preparing("Three")
    assert queries_of(lambda: alarms.find(Study.objects.all())) == few == 5  # one of them reads the studies


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any]]]:
    """A server that takes posts: its address, and what it got."""
    taken: list[Any] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", taken
    server.shutdown()


def test_an_alarm_is_sent_once_until_it_is_over(settings: Any, hook: tuple[str, list[Any]], capsys: Any) -> None:
    stage = preparing()
    settings.ALARM_WEBHOOK = "http://127.0.0.1:9/"  # nobody listens
    assert send_alarms() == []
    assert AlarmNotice.objects.get().sent_at is None
    settings.ALARM_EMAIL = ["ada@example.org"]
    settings.ALARM_WEBHOOK, taken = hook
    call_command("alarms")
    call_command("alarms")
    assert "No worker" in capsys.readouterr().out
    assert [(each["alarm"], each["study"]["name"]) for each in taken] == [("no_worker", "Shapes")]
    assert [(each.to, each.subject) for each in mail.outbox] == [(["ada@example.org"], "Evenhand: Shapes")]
    signs.give("cpu,gpu")
    assert send_alarms() == []
    assert AlarmNotice.objects.get().over_at is not None
    WorkerSign.objects.update(seen_at=timezone.now() - timedelta(minutes=6))
    assert [notice.study_id for notice in send_alarms()] == [stage.study_id]
    assert len(taken) == 2


def no_mail(*_: object) -> None:
    raise ConnectionRefusedError(111, "Connection refused")


def test_what_one_channel_took_is_not_sent_by_it_again(
    settings: Any, hook: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    preparing("First")
    settings.ALARM_EMAIL = ["ada@example.org"]
    settings.ALARM_WEBHOOK, taken = hook
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "send_mail", no_mail)
        sent = [len(send_alarms()) for _ in range(3)]
    assert (sent, len(taken)) == ([1, 0, 0], 1)
    assert "could not be sent by e-mail: [Errno 111] Connection refused" in caplog.text
    settings.ALARM_WEBHOOK = "http://127.0.0.1:9/"
    preparing("Second")
    assert [[notice.study.name for notice in send_alarms()] for _ in range(2)] == [["Second"], []]
    assert [each.subject for each in mail.outbox] == ["Evenhand: Second"]


def test_what_no_channel_took_is_tried_again(
    settings: Any, hook: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    preparing()
    settings.ALARM_EMAIL, settings.ALARM_WEBHOOK = ["ada@example.org"], "http://127.0.0.1:9/"
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "send_mail", no_mail)
        assert send_alarms() == send_alarms() == []
    settings.ALARM_WEBHOOK, taken = hook
    assert len(send_alarms()) == len(taken) == len(mail.outbox) == 1


def test_the_live_part_tells_it_within_eight_queries(client: Client, django_assert_max_num_queries: Any) -> None:
    study = collecting(3)
    client.force_login(study.owner)
    address = reverse("console:live", args=[study.pk])
    with django_assert_max_num_queries(8):
        response = client.get(address, {"key": "collecting"}, headers={"HX-Request": "true"})
    text = " ".join(response.content.decode().split())
    assert "3 of 12 places taken; 36 of 144 answers." in text
    assert "HX-Refresh" not in response.headers
    assert client.get(address, {"key": "ready"})["HX-Refresh"] == "true"
    Rating.objects.filter(evaluator__study=study).update(elapsed_ms=10)
    assert "came within 300 ms" in client.get(reverse("console:studies")).content.decode()
    client.force_login(make_admin("mallory"))
    assert client.get(address).status_code == 404


def test_a_preparation_says_what_is_before_it(client: Client, django_assert_max_num_queries: Any) -> None:
    first, second = preparing("One"), preparing("Two")
    for stage, count in ((first, 3), (second, 2)):
        for number in range(count):
            stage.batches.create(number=number, queue="gpu", total=10)
    client.force_login(second.study.owner)
    with django_assert_max_num_queries(8):
        page = client.get(reverse("console:live", args=[second.study_id])).content.decode()
    text = " ".join(page.split())
    assert "3 batches of other studies come first" in text
    assert "No worker for the queue “gpu” has been seen for 5 minutes" in text
    assert 'id="stages-pictures" hx-swap-oob="true"' in text
