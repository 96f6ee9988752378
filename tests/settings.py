"""Settings of the tests: a throwaway ``var/``, and either a SQLite file or the services."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def _own_redis(url: str) -> str:
    """The broker's address; of tests that run side by side (pytest-xdist: gw0, gw1, …) each has a numbered database."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    address, _, number = url.rpartition("/")
    return f"{address}/{(int(number) + int(worker)) % 16}"


_folder = Path(tempfile.mkdtemp(prefix="evenhand-tests-"))
os.environ["EVENHAND_VAR"] = str(_folder)
os.environ["EVENHAND_MODEL_ROOTS"] = tempfile.gettempdir()  # where tests make models
if os.environ.get("EVENHAND_TEST_SERVICES") == "1":
    os.environ["DATABASE_URL"] = os.environ["DATABASE_URL_SERVICES"]
    os.environ["CELERY_BROKER_URL"] = _own_redis(os.environ["REDIS_URL_SERVICES"])
else:
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("CELERY_BROKER_URL", None)
    os.environ["EVENHAND_TEST_SQLITE"] = str(_folder / "test.sqlite3")

from evenhand.config.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # logins in tests need not be slow

# In a test's transaction on SQLite no thread can renew a lease; on a loaded machine work may take minutes.
LEASE_SECONDS = 900

# tests see each change at once
CACHES = {name: {"BACKEND": "django.core.cache.backends.dummy.DummyCache"} for name in ("default", "reports")}
