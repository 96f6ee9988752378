"""Start a Celery worker and a web server as child processes, and stop them with the demonstration."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from django.conf import settings


class ProcessError(RuntimeError):
    """A child process that did not start or that failed; the message carries the end of its log."""


def worker_command(queues: str = "cpu,gpu") -> list[str]:
    """Return the command of one worker process; its solo pool keeps the models in the process that runs the tasks."""
    options = ["--pool=solo", f"--queues={queues}", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [sys.executable, "-m", "celery", "--app=evenhand.config", "worker", "--loglevel=WARNING", *options]


def server_command(port: int) -> list[str]:
    """Return the command of gunicorn with one process and a few threads."""
    options = ["--bind", f"127.0.0.1:{port}", "--workers=1", "--threads=6", "--log-level=warning"]
    return [sys.executable, "-m", "gunicorn", "evenhand.config.wsgi:application", *options]


def environment() -> dict[str, str]:
    """Return the children's environment, with this installation's folder and settings."""
    return os.environ | {"EVENHAND_VAR": str(settings.VAR), "DJANGO_SETTINGS_MODULE": "evenhand.config.settings"}


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child process with its output in ``log``; at the end it is terminated, and killed where that fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=settings.WORKING_FOLDER, env=environment(), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def free_port(preferred: int) -> int:
    """Return ``preferred`` if nothing listens there, else a port that the system gives."""
    for candidate in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port
    raise ProcessError("no free port on 127.0.0.1")


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 30) -> None:
    """Return when ``url`` answers; ``ProcessError`` with the log's end if the process ends or stays silent."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            httpx.get(url, timeout=2).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise ProcessError(f"the web server did not come up at {url}:\n{tail(log)}")
