"""Let a short test inject faults into its own database, and a long one run ``scripts.run_faults``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings

from tests.helpers.faults.place import Place
from tests.helpers.servers import environment


def place_of_test(folder: Path) -> Place:
    """Return this test's installation: its database, its folder, no services of its own."""
    return Place("the test's database", folder, environment())


def long_run(kind: str, folder: Path, times: int) -> list[dict[str, Any]]:
    """Run one kind of fault in every place, as ``make faults`` does; return what was found, run by run."""
    command = [sys.executable, "-m", "scripts.run_faults", "--only", kind, "--times", f"{times}", "--to", str(folder)]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert (folder / "report.json").exists(), done.stdout + done.stderr
    return json.loads((folder / "report.json").read_text())["runs"]
