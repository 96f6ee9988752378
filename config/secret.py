"""Load the server's secret and its older ones from the environment, or from ``var/secret_key``, which is made once."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from evenhand.studies.secret_file import SHORTEST, make_file, read_secrets


def load_secret_keys(var: Path) -> list[str]:
    """Return all secrets, the newest first: signatures are made with it, and those of the others are still known.

    They are EVENHAND_SECRET_KEY and, apart by blanks, EVENHAND_SECRET_KEY_FALLBACKS; else the lines of
    ``var/secret_key``.
    """
    if key := os.environ.get("EVENHAND_SECRET_KEY"):
        older = os.environ.get("EVENHAND_SECRET_KEY_FALLBACKS", "").split()
        if any(len(each) < SHORTEST for each in (key, *older)):
            name = "EVENHAND_SECRET_KEY" if len(key) < SHORTEST else "each of EVENHAND_SECRET_KEY_FALLBACKS"
            raise ImproperlyConfigured(f"{name} must have at least {SHORTEST} characters")
        return [key, *older]
    path = var / "secret_key"
    if not path.exists():
        make_file(path)
    keys = read_secrets(path)
    if not keys:
        raise ImproperlyConfigured(f"{path} holds no usable secret; delete it to have a new one made")
    return keys
