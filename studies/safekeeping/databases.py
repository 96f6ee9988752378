"""Write the database into one file, and read it back: by pg_dump and pg_restore, or by SQLite's own backup."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from pathlib import Path

from django.db import connection

from evenhand.errors import InputError

FILES = {"postgresql": "database.dump", "sqlite": "database.sqlite3"}


def file_name() -> str:
    """Return the name of this database's file in a backup; ``InputError`` for another kind of database."""
    try:
        return FILES[connection.vendor]
    except KeyError:
        raise InputError(f"a database of the kind {connection.vendor} cannot be backed up") from None


def dump(path: Path) -> None:
    """Write the database as it stands at one moment, while it is in use. Raises ``InputError`` where that fails."""
    path.touch(mode=0o600)
    if connection.vendor == "postgresql":
        _postgresql("pg_dump", "--format=custom", f"--file={path}", database_as=())
        return
    connection.ensure_connection()
    target = sqlite3.connect(path)
    try:
        connection.connection.backup(target)
    finally:
        target.close()


def load(path: Path) -> None:
    """Read such a file into the empty database: all of it or nothing. Raises ``InputError`` where that fails."""
    if connection.vendor == "postgresql":
        options = ("--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error")
        _postgresql("pg_restore", *options, str(path), database_as=("--dbname",))
        return
    connection.ensure_connection()
    source = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        source.backup(connection.connection)
    finally:
        source.close()


def _postgresql(program: str, *arguments: str, database_as: tuple[str, ...]) -> None:
    """Run a program of PostgreSQL's on the database; its password goes into the environment, hidden from others."""
    settings = connection.settings_dict
    given = {"--host": settings["HOST"], "--port": settings["PORT"], "--username": settings["USER"]}
    where = [f"{option}={value}" for option, value in given.items() if value]
    environment = os.environ | ({"PGPASSWORD": settings["PASSWORD"]} if settings["PASSWORD"] else {})
    command = [program, "--no-password", *where, *arguments, *database_as, settings["NAME"]]
    try:
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603  (a fixed program, no shell)
    except FileNotFoundError:
        raise InputError(f"{program} is not installed: install PostgreSQL's client programs") from None
    except subprocess.CalledProcessError as error:
        raise InputError(f"{program} failed: {error.stderr.strip()}") from None
