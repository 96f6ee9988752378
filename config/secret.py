"""The server's secret: configured, or made once in ``var/secret_key`` with mode 0600."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def load_secret_key(var: Path) -> str:
    """EVENHAND_SECRET_KEY, else the content of ``var/secret_key``, which is created if it is not there."""
    if configured := os.environ.get("EVENHAND_SECRET_KEY"):
        if len(configured) < 32:
            raise ImproperlyConfigured("EVENHAND_SECRET_KEY must have at least 32 characters")
        return configured
    path = var / "secret_key"
    try:
        # O_EXCL: of two processes that start together one makes the key and the other reads it.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(48))
    return _read(path)


def _read(path: Path) -> str:
    key = path.read_text().strip()
    if len(key) < 32:
        raise ImproperlyConfigured(f"{path} holds no usable secret; delete it to have a new one made")
    return key
