"""Workers killed while they make pictures; the short version is ``tests/test_worker.py``'s."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.faults.small import long_run


@pytest.mark.slow
def test_pictures_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    runs = long_run("killed_workers", tmp_path, 5)
    assert [run["differences"] for run in runs] == [[], []]
