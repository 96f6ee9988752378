"""Web servers killed while people rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.faults import killed_servers
from tests.helpers.faults.small import long_run, place_of_test


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_three_kills_lose_and_double_no_answer(tmp_path: Path, settings: Any) -> None:
    settings.MEDIA_ROOT = settings.VAR / "images"  # where the servers look
    outcome = killed_servers.run(place_of_test(tmp_path), 3, seed=8, people=4, trials=4, pause=(0, 1), gap=(0, 1))
    assert outcome.differences == []
    assert outcome.work["answers acknowledged"] == 4 * (4 + 1 + 2 + 1)


@pytest.mark.slow
def test_many_kills_lose_and_double_no_answer(tmp_path: Path) -> None:
    runs = long_run("killed_servers", tmp_path, 10)
    assert [run["differences"] for run in runs] == [[], []]
