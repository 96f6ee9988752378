"""Measure the report and the results page of two sizes, so that growth shows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.results_study import filled_study

SIZES = (100_000, 1_000_000)
ROUNDS = 5


def measure_report() -> dict[str, Any]:
    """Measure each size; every round computes anew, as nothing is taken from the cache."""
    return {f"{ratings}": _measure(ratings) for ratings in SIZES}


def _measure(ratings: int) -> dict[str, Any]:
    from evenhand.studies.models import Study
    from evenhand.studies.results.report.answers import read_answers
    from evenhand.studies.results.report.study import compute_report

    pk = filled_study(ratings).pk

    def fresh() -> Study:
        return Study.objects.select_related("current_version", "recipe", "subset", "prompt_set").get(pk=pk)

    return {
        "reading_s": _seconds(lambda: read_answers(pk, smallest_picture=0, file_width=64)),
        "report_s": _seconds(lambda: compute_report(fresh())),
    }


def _seconds(work: Callable[[], object]) -> dict[str, float]:
    """Return the median and the best of a few rounds, after one that warms up."""
    taken = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return {"median": statistics.median(taken[1:]), "best": min(taken[1:])}
