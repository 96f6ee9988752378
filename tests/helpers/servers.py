"""Real servers over the test's own database, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connection

from evenhand.studies.demonstration.processes import free_port, tail, wait_until_it_answers


def environment() -> dict[str, str]:
    """A child's environment: this test's database and folder."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{database['NAME']}"
    else:
        host = f"{database['HOST']}:{database['PORT'] or 5432}"
        url = f"postgresql://{database['USER']}:{database['PASSWORD']}@{host}/{database['NAME']}"
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "evenhand.config.settings",
        "EVENHAND_VAR": str(settings.VAR),
        "DATABASE_URL": url,
    }


@contextmanager
def gunicorn(log: Path, *, workers: int = 2, threads: int = 8) -> Iterator[str]:
    """gunicorn with several processes and threads; gives its address."""
    port = free_port(0)
    # kept alive for long: a client's request must not meet a connection that the server is about to close
    options = [f"--workers={workers}", f"--threads={threads}", "--keep-alive=120", "--log-level=warning"]
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "evenhand.config.wsgi:application",
        f"--bind=127.0.0.1:{port}",
        *options,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=environment(), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/healthz", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=15)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float = 150) -> None:
    """Wait until something is so, as long as a process lives; show its log where it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the worker ended:\n{tail(log, 40)}"
        assert time.monotonic() < deadline, f"still not so after {seconds} s:\n{tail(log, 40)}"
        time.sleep(0.05)
