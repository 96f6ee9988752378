"""What all tests share: the services' reachability, quiet threads, throwaway folders."""

from __future__ import annotations

import os

import pytest

from tests.helpers.services import REQUIRED, unreachable

# Two threads, but one for each of several test processes, which inherit what the process that starts them has set: two
# threads each on two cores take five times as long, waiting for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")

SERVICES = os.environ.get("EVENHAND_TEST_SERVICES") == "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the services their tests are skipped with the reason, or fail where they are required."""
    if not SERVICES:
        return
    if reason := unreachable():
        if REQUIRED:
            pytest.exit(f"REQUIRE_SERVICES=1, but {reason}", returncode=1)
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _own_images(settings: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every test writes its images into a folder of its own."""
    settings.MEDIA_ROOT = tmp_path_factory.mktemp("images")  # type: ignore[attr-defined]
