"""The environment of worker processes that tests start."""

from __future__ import annotations

from django.conf import settings

from tests.helpers.servers import environment


def child_environment() -> dict[str, str]:
    """The worker's settings: this test's database, and leases short enough to wait for."""
    return environment() | {
        "CELERY_BROKER_URL": settings.CELERY_BROKER_URL,
        "EVENHAND_LEASE_SECONDS": "3",
        "OMP_NUM_THREADS": "1",
    }
