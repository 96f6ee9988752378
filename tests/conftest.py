"""What all tests share: the services' reachability, quiet threads, throwaway folders."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlparse

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")

SERVICES = os.environ.get("EVENHAND_TEST_SERVICES") == "1"
REQUIRED = os.environ.get("REQUIRE_SERVICES") == "1"


def _unreachable() -> str:
    """Which of the services does not answer; empty if all do."""
    for name in ("DATABASE_URL_SERVICES", "REDIS_URL_SERVICES"):
        address = urlparse(os.environ[name])
        try:
            socket.create_connection((address.hostname or "", address.port or 0), timeout=2).close()
        except OSError as error:
            return f"{address.hostname}:{address.port} does not answer ({error})"
    return ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the services their tests are skipped with the reason, or fail where they are required."""
    if not SERVICES:
        return
    if reason := _unreachable():
        if REQUIRED:
            pytest.exit(f"REQUIRE_SERVICES=1, but {reason}", returncode=1)
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _own_images(settings: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every test writes its images into a folder of its own."""
    settings.MEDIA_ROOT = tmp_path_factory.mktemp("images")  # type: ignore[attr-defined]
