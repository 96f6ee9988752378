"""What stands before Django and beside it: content types, the server's own logs, the database's files, settings."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from evenhand.config.content_types import is_readable
from evenhand.studies.demonstration.processes import free_port, server_command, wait_until_it_answers

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "abcdefghijkl." + "0" * 32
ODD = (
    "x; charset=hex",
    "text/plain; charset*=utf-8''%00",
    "text/plain; charset=idna",
    "text/plain; charset=utf-16",
    "text/plain; charset=utf-7",
    "text/plain; charset=nonsense",
    "multipart/form-data",
    "multipart/form-data; boundary=gr\u00fcn",
)
PLAIN = (
    "",
    "text/plain",
    "application/x-www-form-urlencoded; charset=UTF-8",
    "multipart/form-data; boundary=----abc",
    "text/plain; charset=us-ascii",
    "application/json",
)


@pytest.mark.parametrize("content_type", ODD)
def test_odd_content_types_are_told(content_type: str) -> None:
    assert not is_readable(content_type)


@pytest.mark.parametrize("content_type", PLAIN)
def test_plain_content_types_are_read(content_type: str) -> None:
    assert is_readable(content_type)


# What this test run set for itself, and no installation has; the last is set once a browser test was collected.
OURS = ("DATABASE_URL", "CELERY_BROKER_URL", "DJANGO_ALLOW_ASYNC_UNSAFE")


def environment(var: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name not in OURS}
    return clean | {"EVENHAND_VAR": str(var), "DJANGO_SETTINGS_MODULE": "evenhand.config.settings"}


def manage(var: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(var) | more, capture_output=True, text=True)


@contextmanager
def serving(command: list[str], var: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=ROOT, env=environment(var), stdout=output, stderr=subprocess.STDOUT)
        try:
            yield server
        finally:
            server.terminate()
            server.wait(timeout=20)


def test_a_real_server_answers_and_logs_without_links(tmp_path: Path) -> None:
    """gunicorn with its access log on: odd content types get 400, and no token stands in any of its lines."""
    assert manage(tmp_path, "migrate", "--no-input").returncode == 0
    for suffix in ("", "-wal", "-shm"):
        path: Path = tmp_path / f"db.sqlite3{suffix}"
        assert not path.exists() or stat.S_IMODE(path.stat().st_mode) == 0o600
    log, port = tmp_path / "server.log", free_port(8950)
    with serving([*server_command(port), "--access-logfile", "-", "--log-level", "debug"], tmp_path, log) as server:
        base = f"http://127.0.0.1:{port}"
        wait_until_it_answers(f"{base}/healthz", server, log)
        for content_type in ODD:
            for address in ("/healthz?a=1", "/console/login/", f"/j/{TOKEN}/"):
                sent = {b"Content-Type": content_type.encode("latin-1")}
                assert httpx.get(base + address, headers=sent).status_code == 400, content_type
        assert httpx.get(f"{base}/j/{TOKEN}/").status_code == 404
        assert httpx.post(f"{base}/e/{TOKEN}/rate/", data={"choice": "1"}).status_code in (403, 404)
    text = log.read_text()
    assert "/j/\u2026/" in text
    assert TOKEN not in text
    assert stat.S_IMODE((tmp_path / "db.sqlite3").stat().st_mode) == 0o600


def test_the_settings_of_a_production_pass_djangos_checks(tmp_path: Path) -> None:
    result = manage(
        tmp_path, "check", "--deploy", "--fail-level", "WARNING",
        EVENHAND_ALLOWED_HOSTS="study.example.org", EVENHAND_TRUSTED_ORIGINS="https://study.example.org",
        EVENHAND_SECRET_KEY="k8" * 40 + "-a-b-c-d-e-f-g-h-i-j-k",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
