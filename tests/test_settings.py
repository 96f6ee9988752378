"""The installation: settings that fail loudly, a secret that is made once, health without a database."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from evenhand.config.secret import load_secret_keys

ROOT = Path(__file__).resolve().parent.parent


NAMED = "import evenhand.config.settings as s; print(s.DATABASES['default']['ENGINE'], s.CELERY_BROKER_URL)"


def settings_with(tmp_path: Path, code: str = NAMED, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean | {"EVENHAND_VAR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "evenhand.config.settings"} | environment,
        capture_output=True,
        text=True,
    )


def test_the_embedded_default_needs_nothing(tmp_path: Path) -> None:
    assert settings_with(tmp_path).stdout.split() == ["django.db.backends.sqlite3", "filesystem://"]


def test_the_environment_names_the_services(tmp_path: Path) -> None:
    result = settings_with(tmp_path, DATABASE_URL="postgresql://u:p@h/d", CELERY_BROKER_URL="redis://h:6379/0")
    assert result.stdout.split() == ["django.db.backends.postgresql", "redis://h:6379/0"]


def test_a_silent_database_is_given_up_and_its_address_may_say_when(tmp_path: Path) -> None:
    code = "import evenhand.config.settings as s; print(s.DATABASES['default']['OPTIONS']['connect_timeout'])"
    for url, seconds in (("postgresql://u:p@h/d", "10"), ("postgresql://u:p@h/d?connect_timeout=3", "3")):
        assert settings_with(tmp_path, code, DATABASE_URL=url).stdout.split() == [seconds]
    code = code.replace("connect_timeout", "tcp_user_timeout")
    assert settings_with(tmp_path, code, DATABASE_URL="postgresql://u:p@h/d").stdout.split() == ["60000"]


@pytest.mark.parametrize(
    ("chosen", "spins"), [({}, "1000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")]
)
def test_threads_wait_briefly_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], spins: str
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    told = "print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"
    code = f"import os, sys, evenhand.config.settings; {told}"
    assert settings_with(tmp_path, code, **chosen).stdout.split() == ["False", spins]


@pytest.mark.parametrize(
    ("name", "value"),
    [("EVENHAND_DEBUG", "perhaps"), ("EVENHAND_LEASE_SECONDS", "0"), ("EVENHAND_LEASE_SECONDS", "soon")],
)
def test_a_setting_that_makes_no_sense_is_named(tmp_path: Path, name: str, value: str) -> None:
    result = settings_with(tmp_path, **{name: value})
    assert result.returncode != 0
    assert name in result.stderr
    assert value in result.stderr


def test_a_folder_of_collected_files_is_not_made_by_who_only_reads_it(tmp_path: Path) -> None:
    """A worker's user may not write beside the code, and needs no page."""
    folder = tmp_path / "collected"
    result = settings_with(tmp_path, EVENHAND_STATIC=str(folder))
    assert (result.returncode, folder.exists()) == (0, False)


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    result = settings_with(tmp_path, EVENHAND_SECRET_KEY="short")
    assert "at least 32 characters" in result.stderr


def test_a_short_older_secret_is_refused(tmp_path: Path) -> None:
    result = settings_with(tmp_path, EVENHAND_SECRET_KEY="k" * 40, EVENHAND_SECRET_KEY_FALLBACKS=f"{'o' * 40} short")
    assert "each of EVENHAND_SECRET_KEY_FALLBACKS must have at least 32" in result.stderr


def test_the_secret_is_made_once_and_is_the_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENHAND_SECRET_KEY", raising=False)
    [first] = load_secret_keys(tmp_path)
    assert load_secret_keys(tmp_path) == [first]
    assert len(first) >= 32
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_processes_that_start_together_share_one_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENHAND_SECRET_KEY", raising=False)
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        barrier = threading.Barrier(8)
        keys: list[str] = []

        def start(folder: Path = folder, barrier: threading.Barrier = barrier, keys: list[str] = keys) -> None:
            barrier.wait()
            keys.extend(load_secret_keys(folder))

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(keys) == 8
        assert len(set(keys)) == 1
