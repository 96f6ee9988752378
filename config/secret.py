"""Load the server's secret from the environment, or make it once in ``var/secret_key``."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def load_secret_key(var: Path) -> str:
    """Return EVENHAND_SECRET_KEY, else the content of ``var/secret_key``, which is made if it does not exist."""
    if key := os.environ.get("EVENHAND_SECRET_KEY"):
        if len(key) < 32:
            raise ImproperlyConfigured("EVENHAND_SECRET_KEY must have at least 32 characters")
        return key
    path = var / "secret_key"
    if not path.exists():
        _make(path)
    return _read(path)


def _make(path: Path) -> None:
    """Write a new secret with mode 0600 under a temporary name, then link it to ``path``.

    Of several processes that do this at once, the first link stays; the others keep it and drop their own secrets.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)


def _read(path: Path) -> str:
    key = path.read_text().strip()
    if len(key) < 32:
        raise ImproperlyConfigured(f"{path} holds no usable secret; delete it to have a new one made")
    return key
