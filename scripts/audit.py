"""Look the pinned packages up among known vulnerabilities: ``python scripts/audit.py``.

Ends with status 1 where one is known. Where the service does not answer it says so, and ends with 0: a check that needs
the network must not stop the work without it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "constraints.txt"
SECONDS = 60


def asked() -> list[dict[str, Any]] | None:
    """Return what pip-audit says of each package; None where it gives no answer."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(PINS), "--no-deps", "--disable-pip"]
    try:
        done = subprocess.run(
            [*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True, timeout=SECONDS
        )
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return packages


def told(packages: list[dict[str, Any]] | None) -> tuple[list[str], int]:
    """Return the lines to print, and the exit status."""
    audited = [each for each in packages or [] if "skip_reason" not in each]
    if not audited:
        return ["audit: nothing was audited, because the service of known vulnerabilities was not reached"], 0
    lines = [
        f"audit: {each['name']} {each['version']}: {found['id']}, mended in {', '.join(found['fix_versions'])}"
        for each in audited
        for found in each["vulns"]
    ]
    skipped = len(packages or []) - len(audited)
    unknown = f", {skipped} are not known there" if skipped else ""
    return [*lines, f"audit: {len(audited)} packages looked up, {len(lines)} vulnerabilities{unknown}"], bool(lines)


def main() -> int:
    """Print what is known of the pinned packages; return the exit status."""
    lines, status = told(asked())
    print(*lines, sep="\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
