"""Measure the results on PostgreSQL: studies of growing size, filled by the database.

    python -m benchmarks.results [--only PART …] [--json FILE] [--database URL]

report     the report, its tallies alone, the results page and its figures, of 100,000 and of one million ratings
csv        the ratings as CSV: rows a second, and memory above idle

The database (evenhand_bench_results, on the named server) is created anew and dropped at the end. About five minutes.
With ``--json`` the parts that were run replace those of the file, and the others stay.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

DATABASE = "postgresql://postgres@127.0.0.1:5432/postgres"
NAME = "evenhand_bench_results"
PARTS = ("report", "csv")


def main() -> None:
    """Print the figures; with ``--json`` also write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
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
        from benchmarks.results_csv import measure_csv
        from benchmarks.results_report import measure_report
        from benchmarks.throwaway import database

        measures = {"report": measure_report, "csv": measure_csv}
        result: dict[str, Any] = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
        for part in options.only:
            with database(NAME):
                result[part] = {"machine": machine(), **measures[part]()}
                print(part, json.dumps(result[part], indent=2), flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
