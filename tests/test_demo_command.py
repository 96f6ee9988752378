"""``manage.py demo`` as a newcomer runs it, at a smaller size: once, and again."""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evenhand.studies.demonstration.processes import free_port

ROOT = Path(__file__).resolve().parent.parent
SIZE = ("--subset", "60", "--per-stratum", "5", "--prompts", "2000")


def run_demo(var: Path, *arguments: str) -> str:
    environment = os.environ | {"EVENHAND_VAR": str(var), "DJANGO_SETTINGS_MODULE": "evenhand.config.settings"}
    environment.pop("DATABASE_URL", None)
    environment.pop("CELERY_BROKER_URL", None)
    command = [sys.executable, "manage.py", "demo", "--no-serve", *SIZE, *arguments]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run of the demo, and what it printed."""
    var = tmp_path_factory.mktemp("demo")
    return var, run_demo(var)


def report_of(var: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((var / "demo" / "report.json").read_text())
    return report


def test_it_makes_a_login_and_says_the_password_once(demo: tuple[Path, str]) -> None:
    assert len(re.findall(r"with the password \S{16}", demo[1])) == 1


def test_the_evaluations_are_methods_count_and_not_the_naive_one(demo: tuple[Path, str]) -> None:
    evaluations = report_of(demo[0])["demo"]["evaluations"]
    assert (evaluations["first_subset"], evaluations["final_subset"]) == (60, 15)
    assert evaluations["baseline"] == 40 * 60
    assert (
        evaluations["arms"] == (59 + 1 + 2 * 4) * 15
    )  # strengths: one row at the switch, which the arms share, then one an arm
    assert evaluations["naive_per_prompt"] == 120


def test_its_ratings_are_marked_as_simulated_everywhere(demo: tuple[Path, str]) -> None:
    var, printed = demo
    report = report_of(var)
    assert report["population"] == "simulated"
    assert report["ratings"]["real"] == 0
    with (var / "demo" / "preferences.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == report["n"] == 17 * 15  # fifteen prompts, and nobody sees one twice
    assert {row["simulated"] for row in rows} == {"TRUE"}
    assert "SIMULATED" in printed
    assert "simulated" in (var / "demo" / "histogram.svg").read_text().lower()
    assert (var / "demo" / "frechet.svg").read_text().lstrip().startswith("<?xml")


def test_a_second_run_reuses_everything(demo: tuple[Path, str]) -> None:
    var, _ = demo
    before = report_of(var)
    printed = run_demo(var)
    assert "password" not in printed
    after = report_of(var)
    assert after["demo"]["evaluations"] == before["demo"]["evaluations"]
    assert after["comparisons"] == before["comparisons"]


def test_a_busy_port_is_left_to_who_has_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        assert free_port(busy) != busy
    assert free_port(busy) == busy


def test_a_visitors_answers_stay_out_of_the_demos_figures(demo: tuple[Path, str]) -> None:
    """Somebody who tried the evaluator's link is in the CSV, and never among the simulated ratings."""
    var, _ = demo
    before = report_of(var)
    code = (
        "import uuid\n"
        "from evenhand.studies.models import Study\n"
        "from evenhand.studies.rating.answers import Answer, store_answer\n"
        "from evenhand.studies.rating.enrolment import consent, enrol\n"
        "from evenhand.studies.rating.progress import progress_of\n"
        "visitor = enrol(Study.objects.get(), note='a visitor'); consent(visitor)\n"
        "trial = progress_of(visitor).trial\n"
        "store_answer(visitor, Answer(trial.public_id, 2, uuid.uuid4(), None, None, {}))\n"
    )
    environment = os.environ | {"EVENHAND_VAR": str(var), "DJANGO_SETTINGS_MODULE": "evenhand.config.settings"}
    for name in ("DATABASE_URL", "CELERY_BROKER_URL"):
        environment.pop(name, None)
    subprocess.run([sys.executable, "manage.py", "shell", "-c", code], cwd=ROOT, env=environment, check=True)
    printed = run_demo(var)
    assert "255 ratings, all of them SIMULATED" in printed
    assert "1 rating by visitors" in printed
    after = report_of(var)
    assert after["comparisons"] == before["comparisons"]
    with (var / "demo" / "preferences.csv").open(newline="") as file:
        assert sum(row["simulated"] == "FALSE" for row in csv.DictReader(file)) == 1
