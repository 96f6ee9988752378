"""A backup restores into an empty installation, with every hash and chain; a damaged one is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F

from evenhand.studies.models import Image, Rating
from tests.helpers.bundles import rated_study

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an installation that holds nothing: a folder and a database of its own."""
    var = tmp_path / "installation"
    environment = os.environ | {"EVENHAND_VAR": str(var), "EVENHAND_SECRET_KEY": "another key of this test " * 2}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    if connection.vendor == "sqlite":
        yield environment | {"DATABASE_URL": f"sqlite:///{var / 'db.sqlite3'}"}
        return
    name = f"evenhand_restored_{uuid.uuid4().hex[:8]}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    yield environment | {"DATABASE_URL": os.environ["DATABASE_URL_SERVICES"].rpartition("/")[0] + f"/{name}"}
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_two_commands_bring_everything_back(
    empty: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = rated_study()
    ratings, images = Rating.objects.count(), Image.objects.order_by().values("sha256").distinct().count()
    assert ratings > 0
    assert images > 0
    folder = tmp_path / "backup"
    call_command("backup", str(folder))
    assert "EVENHAND_SECRET_KEY" in capsys.readouterr().out
    assert folder.stat().st_mode & 0o777 == 0o700

    done = manage(empty, "restore", str(folder))
    assert done.returncode == 0, done.stderr
    assert f"{images} pictures have their hashes; {ratings} ratings, every chain holds." in done.stdout
    assert "The secret key is another one" in done.stderr
    verified = manage(empty, "verify_ratings", study.name)
    assert verified.returncode == 0, verified.stderr
    assert study.ratings_root in verified.stdout

    again = manage(empty, "restore", str(folder))
    assert again.returncode == 1
    assert "the database is not empty" in again.stderr


def test_a_changed_picture_is_found_before_anything_is_written(empty: dict[str, str], tmp_path: Path) -> None:
    rated_study()
    folder = tmp_path / "backup"
    call_command("backup", str(folder))
    picture = next((folder / "images").rglob("*.png"))
    picture.write_bytes(picture.read_bytes() + b"\0")
    done = manage(empty, "restore", str(folder))
    assert done.returncode == 1
    assert f"not as they were written: {picture.name}" in done.stderr
    assert manage(empty, "restore", str(tmp_path)).stderr.startswith("CommandError: ")


def test_a_lost_picture_and_a_changed_rating_are_named(empty: dict[str, str], tmp_path: Path) -> None:
    rated_study()
    Rating.objects.filter(sequence=1).update(elapsed_ms=F("elapsed_ms") + 1)
    folder = tmp_path / "backup"
    call_command("backup", str(folder))
    lost = next((folder / "images").rglob("*.png"))
    lost.unlink()
    done = manage(empty, "restore", str(folder))
    assert done.returncode == 1
    assert f"picture {lost.stem} is missing" in done.stderr
    assert "faults in what was restored" in done.stderr
    assert len(done.stderr.splitlines()) > 2  # the chains' faults too


def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CommandError, match="is not empty"):
        call_command("backup", str(tmp_path))


def test_a_changed_database_file_is_refused(empty: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    call_command("backup", str(folder))
    [database] = folder.glob("database.*")
    database.write_bytes(database.read_bytes() + b"x")
    done = manage(empty, "restore", str(folder))
    assert "its SHA-256 differs from the record's" in done.stderr
