"""Keep the server's secrets in a file of its owner's: one a line, the newest first."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

SHORTEST = 32  # characters


def new_secret() -> str:
    """Return a random secret of 64 characters without blanks."""
    return secrets.token_urlsafe(48)


def read_secrets(path: Path) -> list[str]:
    """Return the secrets of a file, the newest first; none where one of them is too short."""
    keys = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    return [] if any(len(key) < SHORTEST for key in keys) else keys


def make_file(path: Path) -> None:
    """Write a new secret under a temporary name, then link it to ``path``.

    Of several processes that do this at once, the first link stays; the others keep it and drop their own secrets.
    """
    temporary = _temporary(path, [new_secret()])
    try:
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)


def renew(path: Path) -> None:
    """Write a new secret before those of a file; signing is done with it once the services are started again."""
    os.replace(_temporary(path, [new_secret(), *read_secrets(path)]), path)


def forget_older(path: Path) -> None:
    """Leave nothing but the newest secret in a file."""
    os.replace(_temporary(path, read_secrets(path)[:1]), path)


def _temporary(path: Path, keys: list[str]) -> str:
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(handle, "w") as file:
        file.write("\n".join(keys))
        file.flush()
        os.fsync(file.fileno())
    return temporary
