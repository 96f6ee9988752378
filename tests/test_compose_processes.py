"""The services of compose.yaml as processes: the same commands and environment, over PostgreSQL and Redis.

What the images and the network would give is replaced: paths, ports, the services' names, and the GPU.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg2  # type: ignore[import-untyped]
import pytest

from evenhand.studies.demonstration.processes import free_port, tail
from tests.helpers.buckets import PREFIX, TestBucket, s3_server, use_bucket
from tests.helpers.compose_file import ONCE, OURS, ROOT, SERVICES
from tests.helpers.json_logs import lines_of
from tests.helpers.services import REQUIRED, unreachable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(unreachable()) and not REQUIRED, reason=unreachable()),
]
PREPARE = """
import django
django.setup()
from evenhand.studies.pipeline import stages
from tests.helpers.factories import make_draft
stages.prepare(make_draft(name="Composed", steps=2, curve_draws=1))
"""
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def filled(text: str, variables: dict[str, str]) -> str:
    """Fill in ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}``, as compose does."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if variables.get(name):
            return variables[name]
        assert kind != "?", f"{name}: {rest}"
        return rest or ""

    return VARIABLE.sub(value, text).replace("$$", "$")


class Composed:
    """The services over a database of their own; each writes a log of its name."""

    def __init__(self, folder: Path, database: str, variables: dict[str, str], *, shared: bool) -> None:
        self.folder, self.database, self.variables, self.shared = folder, database, variables, shared
        self.port = free_port(0)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, service: str) -> dict[str, str]:
        """What compose gives a service, and what its image sets."""
        given: dict[str, str | None] = SERVICES[service]["environment"]
        environ = {name: filled(text, self.variables) for name, text in given.items() if text is not None}
        handed_on = {name for name, text in given.items() if text is None} & set(self.variables)
        environ |= {name: self.variables[name] for name in handed_on}
        replaced = {
            "DATABASE_URL": self.database,
            "CELERY_BROKER_URL": re.sub(r"/\d+$", "/15", os.environ["REDIS_URL_SERVICES"]),
            "EVENHAND_VAR": str(self.var(service)),
        }
        if "EVENHAND_DEVICE" in environ:
            replaced["EVENHAND_DEVICE"] = "cpu"
        machine = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return machine | environ | replaced | {"OMP_NUM_THREADS": "1"}

    def var(self, service: str) -> Path:
        """The folder of a service's machine."""
        folder = self.folder / ("files" if self.shared else service)
        folder.mkdir(exist_ok=True)
        return folder

    def command(self, service: str, words: list[str]) -> list[str]:
        """A command of the file with this machine's programs, folder and port."""
        programs = Path(sys.executable).parent
        program, *rest = [filled(word, self.variables) for word in words]
        return [str(programs / program), *(self._here(service, word) for word in rest)]

    def _here(self, service: str, word: str) -> str:
        return (
            word.replace("/var/evenhand", str(self.var(service)))
            .replace("0.0.0.0:8000", f"127.0.0.1:{self.port}")
            .replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        )

    def run(self, service: str, words: list[str], log: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a command in a service's environment."""
        with (self.folder / f"{log}.log").open("ab") as output:
            environ = self.environment(service) | more
            return subprocess.Popen(words, cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT)

    def start(self, service: str) -> None:
        """Start a service."""
        self.processes[service] = self.run(service, self.command(service, SERVICES[service]["command"]), service)

    def is_healthy(self, service: str) -> bool:
        """Run a service's own health check."""
        kind, *words = SERVICES[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(service, self.command(service, words), "health").wait(timeout=60) == 0

    def states(self) -> list[str]:
        """The studies' states."""
        link = psycopg2.connect(self.database)
        try:
            with link.cursor() as cursor:
                cursor.execute("SELECT state FROM studies_study")
                return [state for (state,) in cursor.fetchall()]
        finally:
            link.close()

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait, as long as every service lives."""
        deadline = time.monotonic() + seconds
        while not condition():
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended:\n{self.log(name)}"
            assert time.monotonic() < deadline, "\n".join(self.log(name) for name in self.processes)
            time.sleep(0.2)

    def log(self, service: str) -> str:
        """The end of a service's log."""
        return f"{service}:\n{tail(self.folder / f'{service}.log', 30)}"


@contextmanager
def new_database() -> Iterator[str]:
    """An empty database; its address."""
    address = os.environ["DATABASE_URL_SERVICES"]
    name = f"evenhand_composed_{uuid.uuid4().hex[:8]}"
    link = psycopg2.connect(address)
    link.autocommit = True
    try:
        with link.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            try:
                yield f"{address.rpartition('/')[0]}/{name}"
            finally:
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        link.close()


@pytest.mark.parametrize("shared", [True, False], ids=["one folder", "a bucket"])
def test_the_services_prepare_a_study_and_end(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """On one host with its folder, and as on several machines: each service with a folder of its own, and a bucket."""
    variables = {
        "POSTGRES_PASSWORD": "replaced",
        "EVENHAND_SECRET_KEY": "of this test alone " * 2,
        "EVENHAND_ALLOWED_HOSTS": "localhost,127.0.0.1",
        "WORKER_QUEUES": "cpu",  # with a GPU worker, as docs/deployment.md says
        "EVENHAND_LOG": "json",
        "EVENHAND_METRICS": "1",
    }
    with ExitStack() as stack:
        bucket: TestBucket | None = None
        if not shared:
            address = stack.enter_context(s3_server(tmp_path / "s3.log"))
            bucket = use_bucket(address, monkeypatch, settings)
            names = ("EVENHAND_STORAGE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
            variables |= {name: os.environ[name] for name in (*names, "AWS_ENDPOINT_URL")}
        composed = Composed(tmp_path, stack.enter_context(new_database()), variables, shared=shared)
        stack.callback(_kill, composed)
        _prepare(composed)
        _check_what_was_made(composed, bucket)
        _stop(composed)


def _prepare(composed: Composed) -> None:
    [once] = ONCE
    assert composed.run(once, composed.command(once, SERVICES[once]["command"]), once).wait(timeout=120) == 0, (
        composed.log(once)
    )
    for service in OURS:
        if service not in ONCE:
            composed.start(service)
    composed.wait_for(lambda: composed.is_healthy("web"), 120)
    python = [sys.executable, "-c", PREPARE]
    begun = composed.run(
        "web", python, "begin", DJANGO_SETTINGS_MODULE="evenhand.config.settings", PYTHONPATH=str(ROOT)
    )
    assert begun.wait(timeout=120) == 0, composed.log("begin")
    composed.wait_for(lambda: composed.states() == ["ready"], 400)


def _check_what_was_made(composed: Composed, bucket: TestBucket | None) -> None:
    with urlopen(f"http://127.0.0.1:{composed.port}/metrics") as answer:
        text = answer.read().decode()
    assert 'evenhand_studies{state="ready"} 1.0' in text
    assert 'evenhand_workers{queue="gpu"} 1.0' in text
    assert 'evenhand_workers{queue="cpu"} 1.0' in text
    folders = list(composed.folder.glob("*/images"))
    if bucket is None:
        assert folders == [composed.folder / "files" / "images"]
    else:
        assert folders == []
        assert sum(key.startswith(f"{PREFIX}/images/") and key.endswith(".png") for key in bucket.keys()) == 48  # noqa: SIM118


def _stop(composed: Composed) -> None:
    """By SIGTERM, as compose stops them; each line of every log is JSON, and none tells of a fault."""
    for process in composed.processes.values():
        process.terminate()
    ends = {name: process.wait(timeout=60) for name, process in composed.processes.items()}
    assert {name for name, end in ends.items() if end not in (0, -15)} == set(), ends
    for name in composed.processes:
        for line in lines_of(composed.folder / f"{name}.log"):
            assert "exc_info" not in line, line


def _kill(composed: Composed) -> None:
    for process in composed.processes.values():
        process.kill()
        process.wait()
