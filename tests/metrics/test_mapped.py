"""Scattered reads of a memory map: the same rows, in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evenhand.metrics.mapped import SCATTERED, forget, rows_of

ROWS, WIDTH = 100_000, 256  # 102 MB


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mapped") / "features.npy"
    np.save(path, np.random.default_rng(0).standard_normal((ROWS, WIDTH), np.float32))
    return path


@pytest.mark.parametrize("count", [0, 1, SCATTERED, 3 * SCATTERED + 7])
def test_the_rows_are_those_of_indexing(saved: Path, count: int) -> None:
    indices = np.random.default_rng(count).integers(0, ROWS, count)
    mapped, loaded = np.load(saved, mmap_mode="r"), np.load(saved)
    for array in (mapped, mapped[:], np.asarray(mapped), loaded):
        assert np.array_equal(rows_of(array, indices), loaded[indices])
    forget(mapped)
    assert np.array_equal(mapped[:5], loaded[:5])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's memory")
def test_scattered_reads_do_not_bring_the_file_into_memory(saved: Path) -> None:
    code = f"""
import numpy as np
from evenhand.metrics.mapped import rows_of

def mapped_kb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssFile:")).split()[1])

array, rng, most = np.load({str(saved)!r}, mmap_mode="r"), np.random.default_rng(0), 0
before = mapped_kb()
for _ in range(20):
    rows_of(array, rng.integers(0, len(array), 1000))
    most = max(most, mapped_kb() - before)
whole = np.asarray(array).sum()
print(most, mapped_kb() - before)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    most, whole = map(int, result.stdout.split())
    assert whole > 90_000  # kB: reading all of it is seen
    assert most < 20_000
