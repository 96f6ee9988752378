"""Measure the console's pages of one collecting study on PostgreSQL: seconds and queries.

    python -m benchmarks.console [--json FILE] [--database URL]

The study has 300 pairs, 200 evaluators and 30 ratings by each. Opening it builds the booklets of 200 people. The
database (evenhand_bench_results, on the named server) is created anew and dropped at the end. About a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.results import DATABASE, NAME
from benchmarks.results_study import fill
from benchmarks.throwaway import database

PEOPLE, RATINGS, PER_STRATUM = 200, 30, 50  # pairs: two comparisons of three strata
ROUNDS = 3
PAGES = {
    "studies": "/console/",
    "study": "/console/studies/{pk}/",
    "pictures": "/console/studies/{pk}/parts/pictures/",
    "evaluators": "/console/studies/{pk}/parts/evaluators/",
    "results, in short": "/console/studies/{pk}/parts/results/",
    "live part": "/console/studies/{pk}/live/",
    "people": "/console/studies/{pk}/people/",
    "people, searched": "/console/studies/{pk}/people/?state=finished&sort=answers",
    "panel": "/console/studies/{pk}/reconcile/",
    "pairs": "/console/studies/{pk}/pairs/",
    "checks": "/console/studies/{pk}/checks/",
    "results": "/console/studies/{pk}/results/",
    "print": "/console/studies/{pk}/printed/",
    "metrics": "/console/studies/{pk}/metrics/",
    "versions": "/console/studies/{pk}/versions/",
    "revision": "/console/studies/{pk}/revision/",
    "manage": "/console/studies/{pk}/manage/",
    "members": "/console/studies/{pk}/members/",
    "log": "/console/studies/{pk}/log/",
    "tokens": "/console/tokens/",
    "prompt sets": "/console/prompts/",
    "power": "/console/power/",
}
CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "SET LOCAL")


def measure() -> dict[str, Any]:
    """Return seconds of the opening, and of each page the median seconds, without a kept report, and the queries."""
    from django.core.cache import caches
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from evenhand.studies.lifecycle import open_study
    from evenhand.studies.results.report.cached import CACHE
    from tests.helpers.factories import make_ready_study

    study = make_ready_study(per_stratum=PER_STRATUM, trials_per_evaluator=RATINGS, quota=PEOPLE)
    start = time.perf_counter()
    open_study(study)
    opening = time.perf_counter() - start
    fill(study, people=PEOPLE, trials=RATINGS, per_stratum=PER_STRATUM)
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(study.owner)
    pages: dict[str, Any] = {}
    for name, path in PAGES.items():
        taken = []
        for _ in range(ROUNDS + 1):
            caches[CACHE].clear()
            start = time.perf_counter()
            with CaptureQueriesContext(connection) as captured:
                response = client.get(path.format(pk=study.pk))
            taken.append(time.perf_counter() - start)
            assert response.status_code == 200, f"{path}: {response.status_code}"
        queries = [query["sql"] for query in captured.captured_queries]
        sent = len([sql for sql in queries if not (sql or "").startswith(CONTROL)])
        pages[name] = {"seconds": round(statistics.median(taken[1:]), 3), "queries": sent}
    return {"opening_s": round(opening, 2), "pages": pages}


def main() -> None:
    """Print the figures; with ``--json`` also write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--database", default=DATABASE, help="the PostgreSQL server")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as var:
        os.environ |= {
            "EVENHAND_VAR": var, "DATABASE_URL": options.database, "DJANGO_SETTINGS_MODULE": "evenhand.config.settings"
        }  # fmt: skip
        import django

        django.setup()
        from benchmarks.rating import machine

        with database(NAME):
            load = os.getloadavg()[0]
            result = {"machine": machine(), "load_before": round(load, 1), **measure()}
        result["load_after"] = round(os.getloadavg()[0], 1)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
