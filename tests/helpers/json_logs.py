"""Processes that write JSON lines, and what they wrote."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from django.conf import settings

from tests.helpers.servers import environment

FAREWELL = "\nworker: Warm shutdown (MainProcess)\n"


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Every line, each of which must be a JSON object; Celery prints its farewell past all logging."""
    found = [json.loads(line) for line in log.read_text().replace(FAREWELL, "").splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in found)
    return found


def run(command: list[str], log: Path, **more: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        environ = environment() | {"EVENHAND_LOG": "json"} | more
        return subprocess.Popen(command, cwd=settings.BASE_DIR, env=environ, stdout=output, stderr=subprocess.STDOUT)
