"""Whether PostgreSQL and Redis answer, and whether a test may be skipped where they do not."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlparse

REQUIRED = os.environ.get("REQUIRE_SERVICES") == "1"


def unreachable() -> str:
    """Which of the services does not answer; empty if all do."""
    for name in ("DATABASE_URL_SERVICES", "REDIS_URL_SERVICES"):
        if name not in os.environ:
            return f"{name} is not set"
        address = urlparse(os.environ[name])
        try:
            socket.create_connection((address.hostname or "", address.port or 0), timeout=2).close()
        except OSError as error:
            return f"{address.hostname}:{address.port} does not answer ({error})"
    return ""
