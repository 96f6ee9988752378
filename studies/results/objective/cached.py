"""Keep reports of metrics, so that the figures and tables of a page are not each computed anew.

Scores belong to pictures, which studies share, so the key holds the newest score of all. Values that an import changes
in place are told by the study's audit log; another study's import that changes a shared picture's value in place shows
after ``CLOSED_SECONDS`` at the latest.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from django.core.cache import caches

from evenhand.studies.models import Scoring, Study
from evenhand.studies.results.objective.report import objective_report
from evenhand.studies.results.report import cached

CLOSED_SECONDS = 600


def cached_objective_report(study: Study, scoring: Scoring | None, population: str | None) -> dict[str, Any]:
    """Return ``objective_report``'s result, from the cache where nothing has changed since."""
    store, key = caches[cached.CACHE], _key(study, scoring, population)
    report: dict[str, Any] | None = store.get(key)
    if report is None:
        report = objective_report(study, scoring, population=population)
        store.set(key, report, CLOSED_SECONDS if study.state == Study.State.CLOSED else cached.OPEN_SECONDS)
    return report


def _key(study: Study, scoring: Scoring | None, population: str | None) -> str:
    parts = [cached.report_key(study, scores=True), scoring and scoring.pk, population, _code_sha256()]
    return f"metrics-{hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()}"


@cache
def _code_sha256() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
