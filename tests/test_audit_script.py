"""``scripts/audit.py``: only a known vulnerability fails; what could not be asked is said."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from scripts import audit

WELL = {"name": "a", "version": "1.0", "vulns": []}
BAD = {"name": "b", "version": "2.0", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


def test_a_known_vulnerability_fails_and_is_named() -> None:
    lines, status = audit.told([WELL, BAD, UNKNOWN])
    assert status == 1
    assert lines == [
        "audit: b 2.0: PYSEC-2026-1, mended in 2.1",
        "audit: 2 packages looked up, 1 vulnerabilities, 1 are not known there",
    ]
    assert audit.told([WELL]) == (["audit: 1 packages looked up, 0 vulnerabilities"], 0)


@pytest.mark.parametrize("packages", [None, [], [UNKNOWN]])
def test_where_nobody_answers_it_says_so_and_passes(packages: Any) -> None:
    [line], status = audit.told(packages)
    assert status == 0
    assert "nothing was audited" in line


def test_the_tool_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pip-audit, whose requests lead nowhere."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    done = subprocess.run([sys.executable, "scripts/audit.py"], cwd=audit.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip().count("nothing was audited")) == (0, 1), done.stderr
