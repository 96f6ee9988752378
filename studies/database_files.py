"""Keep SQLite's files to their owner: they hold people's answers and panel ids."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

SUFFIXES = ("", "-wal", "-shm")
OWNER_ALONE = 0o600


def keep_to_owner(connection: Any, **_: Any) -> None:
    """Take the rights of group and others from the files of a connection that was just made."""
    if connection.vendor != "sqlite" or connection.is_in_memory_db():
        return
    for suffix in SUFFIXES:
        path = Path(f"{connection.settings_dict['NAME']}{suffix}")
        with suppress(OSError):  # not there, or another user's
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                path.chmod(OWNER_ALONE)
