"""Settings of the tests: a throwaway ``var/``, and either a SQLite file or the services."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_folder = Path(tempfile.mkdtemp(prefix="evenhand-tests-"))
os.environ["EVENHAND_VAR"] = str(_folder)
if os.environ.get("EVENHAND_TEST_SERVICES") == "1":
    os.environ["DATABASE_URL"] = os.environ["DATABASE_URL_SERVICES"]
    os.environ["CELERY_BROKER_URL"] = os.environ["REDIS_URL_SERVICES"]
else:
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("CELERY_BROKER_URL", None)
    os.environ["EVENHAND_TEST_SQLITE"] = str(_folder / "test.sqlite3")

from evenhand.config.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # logins in tests need not be slow

# tests see each change at once
CACHES = {name: {"BACKEND": "django.core.cache.backends.dummy.DummyCache"} for name in ("default", "reports")}
