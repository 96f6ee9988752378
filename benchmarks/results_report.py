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
    """Measure each size, which fills the database beside the others."""
    return {f"{ratings}": _measure(ratings) for ratings in SIZES}


def _measure(ratings: int) -> dict[str, Any]:
    """Return seconds of the reading alone, of a report, and of requests by the study's admin, with their queries.

    ``page`` and ``histogram_alone`` compute the report; ``page_again`` and ``histogram`` find it in the cache.
    """
    from django.core.cache import caches
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from evenhand.studies.models import Study
    from evenhand.studies.results.report.answers import read_answers
    from evenhand.studies.results.report.cached import CACHE
    from evenhand.studies.results.report.study import compute_report

    study = filled_study(ratings)
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(study.owner)
    address = f"/console/studies/{study.pk}"

    def fresh() -> Study:
        return Study.objects.select_related("current_version", "recipe", "subset", "prompt_set").get(pk=study.pk)

    def get(path: str) -> None:
        response = client.get(f"{address}/{path}")
        assert response.status_code == 200, f"{path}: {response.status_code}"

    forget = caches[CACHE].clear
    measured: dict[str, Any] = {
        "reading_s": _seconds(lambda: read_answers(study.pk, smallest_picture=0, file_width=64)),
        "report_s": _seconds(lambda: compute_report(fresh())),
        "page_s": _seconds(lambda: get("results/"), before=forget),
        "histogram_alone_s": _seconds(lambda: get("histogram.svg?ratings=real"), before=forget),
    }
    Study.objects.filter(pk=study.pk).update(state="closed")  # its report is kept for as long as this takes
    get("results/")
    measured |= {
        "page_again_s": _seconds(lambda: get("results/")),
        "histogram_s": _seconds(lambda: get("histogram.svg?ratings=real")),
    }
    forget()
    with CaptureQueriesContext(connection) as queries:
        get("results/")
    control = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    sent = [query["sql"] for query in queries.captured_queries]
    measured["queries"] = len([sql for sql in sent if not (sql or "").startswith(control)])
    return measured


def _seconds(work: Callable[[], object], *, before: Callable[[], object] = lambda: None) -> dict[str, float]:
    """Return the median and the best of a few rounds, after one that warms up."""
    taken = []
    for _ in range(ROUNDS + 1):
        before()
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return {"median": statistics.median(taken[1:]), "best": min(taken[1:])}
