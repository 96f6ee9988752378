"""PostgreSQL and Redis of one's own, restarted, crashed, cut off, emptied and silenced."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import pytest
import redis

from tests.helpers.faults.services import MissingError, Postgres, Redis
from tests.helpers.faults.small import long_run


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter."""
    with tempfile.TemporaryDirectory(prefix="evenhand-services-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def connected(url: str) -> tuple[Any, Any]:
    """Connect to a database; each statement is committed at once."""
    link = psycopg2.connect(url)
    link.autocommit = True
    return link, link.cursor()


def test_a_database_of_ones_own_keeps_what_was_committed_through_a_crash(folder: Path) -> None:
    try:
        with Postgres(folder) as server:
            link, cursor = connected(server.url)
            cursor.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
            server.restart(server.CRASH)
            with pytest.raises(psycopg2.OperationalError):
                cursor.execute("SELECT 1")
            link.close()
            assert server.cut_connections() == 0
            link, cursor = connected(server.url)
            cursor.execute("SELECT n FROM kept")
            assert cursor.fetchall() == [(7,)]
            assert server.cut_connections() == 1
            with pytest.raises(psycopg2.OperationalError):
                cursor.execute("SELECT 1")
            link.close()
    except MissingError as missing:
        pytest.skip(str(missing))


def test_a_broker_of_ones_own_is_silent_and_then_empty(folder: Path) -> None:
    try:
        with Redis(folder) as server, redis.Redis.from_url(server.url, socket_timeout=0.3) as client:
            client.rpush("cpu", "a message")
            server.pause()
            with pytest.raises(redis.TimeoutError):
                client.llen("cpu")
            server.resume()
            assert client.llen("cpu") == 1
            server.restart(server.RESTART)
            assert client.llen("cpu") == 0
    except MissingError as missing:
        pytest.skip(str(missing))


@pytest.mark.slow
def test_pictures_and_answers_survive_broken_services(tmp_path: Path) -> None:
    runs = long_run("broken_services", tmp_path, 7)
    assert [run["differences"] for run in runs] == [[]]
