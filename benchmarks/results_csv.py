"""Measure the CSV of the ratings: rows a second, and memory above idle, for two sizes."""

from __future__ import annotations

import resource
import time
from typing import Any

SIZES = (100_000, 1_000_000)


def measure_csv() -> dict[str, Any]:
    """Write studies of growing size to nowhere, as a download would, and count."""
    from benchmarks.results_study import filled_study
    from evenhand.studies.results.export import csv_lines

    sizes = []
    for ratings in SIZES:
        study = filled_study(ratings)
        before = peak_mb()
        start = time.perf_counter()
        rows = characters = 0
        for line in csv_lines(study):
            rows += 1
            characters += len(line)
        seconds = time.perf_counter() - start
        sizes.append(
            {
                "rows": rows - 1,
                "megabytes": characters / 1e6,
                "seconds": seconds,
                "rows_per_second": (rows - 1) / seconds,
                "peak_mb_above_idle": peak_mb() - before,
            }
        )
    return {"sizes": sizes}


def peak_mb() -> float:
    """Return the most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
