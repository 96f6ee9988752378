"""The main job through real processes: a Celery worker that is fed by the broker, killed, and replaced."""

from __future__ import annotations

import csv
import io
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from pytest_django.live_server_helper import LiveServer

from evenhand.demo.judge import quality
from evenhand.demo.scenes import built_in_prompts
from evenhand.generation.plan import count_evaluations
from evenhand.studies.demonstration.processes import worker_command
from evenhand.studies.drafts import configuration_of, create_study
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Image, PromptSet, Rating, Stage, Study
from evenhand.studies.pipeline import stages
from evenhand.studies.simulation.deciders import Population, enrol_simulated
from evenhand.studies.simulation.visits import visit_all
from tests.helpers.child_environment import child_environment
from tests.helpers.factories import make_admin, small_configuration
from tests.helpers.servers import wait_for

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _one_folder(settings: Any) -> None:
    """The worker writes images where this process looks for them."""
    settings.MEDIA_ROOT = settings.VAR / "images"


@contextmanager
def worker(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            worker_command(), cwd=settings.BASE_DIR, env=child_environment(), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def state_is(study: Study, state: str) -> Callable[[], bool]:
    def check() -> bool:
        assert not Stage.objects.filter(study=study, state="failed").exists(), list(study.stages.values_list("error"))
        return Study.objects.filter(pk=study.pk, state=state).exists()

    return check


def imported_study(tmp_path: Path, **changes: Any) -> Study:
    """A draft over prompts that came from a file."""
    path = tmp_path / "scenes.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["prompt", "image_id"])
        rows.writerows((text, 1000 + i) for i, text in enumerate(built_in_prompts(60)))
    call_command("import_prompts", str(path), "--name", "From a file", stdout=io.StringIO())
    prompt_set = PromptSet.objects.get(name="From a file")
    configuration = small_configuration(**changes)
    return create_study(owner=make_admin("ada"), name="Worked", prompt_set=prompt_set, configuration=configuration)


def expected_evaluations(study: Study) -> dict[str, int]:
    """The count of method §1.12 for every stage that runs the network."""
    configuration = configuration_of(study)
    final = 3 * configuration.per_stratum
    candidates = {str(i): guidance for i, guidance in enumerate(configuration.candidates)}
    return {
        "baseline": count_evaluations(
            {"b": configuration.baseline}, configuration.steps, prompts=configuration.subset_size
        ),
        "arms": count_evaluations(candidates, configuration.steps, prompts=final),
    }


def test_from_a_prompt_file_to_the_csv(tmp_path: Path, live_server: LiveServer) -> None:
    study = imported_study(tmp_path)
    log = tmp_path / "worker.log"
    with worker(log) as process:
        stages.prepare(study)
        wait_for(state_is(study, "ready"), process, log)
    study.refresh_from_db()
    made = {stage.name: stage.evaluations for stage in study.stages.filter(evaluations__gt=0)}
    assert made == expected_evaluations(study)

    open_study(study)
    people = enrol_simulated(study, 2)
    visits = visit_all(live_server.url, Population(quality).visitors(people, seed=5), threads=2)
    assert [visit.ratings for visit in visits] == [12, 12]

    output = io.StringIO()
    call_command("export_preferences", "Worked", stdout=output)
    rows = list(csv.DictReader(io.StringIO(output.getvalue())))
    assert len(rows) == 24 == Rating.objects.count()
    version = study.current_version
    assert version is not None
    assert {row["version_hash"] for row in rows} == {version.sha256}
    assert {row["simulated"] for row in rows} == {"TRUE"}
    pictures = dict(Image.objects.values_list("sha256", "prompt__text"))
    for row in rows:
        toward = -1 if row["candidate_side"] == "left" else 1
        assert int(row["preference"]) == toward * int(row["choice"])
        assert pictures[row["baseline_image_sha256"]] == row["prompt"] == pictures[row["candidate_image_sha256"]]


def test_a_killed_worker_is_replaced_and_nothing_is_made_twice(tmp_path: Path) -> None:
    study = imported_study(tmp_path, steps=8)
    log = tmp_path / "worker.log"
    baseline = Stage.objects.filter(study=study, name="baseline")
    with worker(log) as process:
        stages.prepare(study)
        wait_for(lambda: Image.objects.filter(state="done").exists(), process, log)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < Image.objects.filter(state="done").count() < 24
    stage = baseline.get()
    assert 0 < stage.evaluations < expected_evaluations(study)["baseline"]
    with worker(log) as process:
        wait_for(state_is(study, "ready"), process, log)
    study.refresh_from_db()
    expected = expected_evaluations(study)
    made = {stage.name: stage.evaluations for stage in study.stages.filter(evaluations__gt=0)}
    assert made["arms"] == expected["arms"]
    # At most the one batch that was in the worker's hands is run again.
    assert expected["baseline"] <= made["baseline"] <= expected["baseline"] + 2 * 8 * 4
    assert Image.objects.filter(state="done").count() == 24 + 2 * 12


def test_a_lost_message_costs_time_and_no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent at all: the worker finds the work by its own sweep."""
    study = imported_study(tmp_path)
    monkeypatch.setattr(stages, "notify", lambda queue: None)
    stages.prepare(study)
    log = tmp_path / "worker.log"
    with worker(log) as process:
        wait_for(state_is(study, "ready"), process, log)
