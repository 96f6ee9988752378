"""Keep reports: a closed study's until something changes it, an open one's for a moment.

The key holds everything that a report depends on and that can change without a new rating: the root of the rating
chains, the configuration, exclusions and their lifting, withdrawals and deletions, and the program itself. A closed
study takes no ratings, so its report needs no expiry. While ratings come in, a report is kept for a few seconds: long
enough for the figures of the page that it was computed for.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from django.core.cache import caches
from django.db import connection

from evenhand import analysis
from evenhand.studies import audit
from evenhand.studies.models import Study
from evenhand.studies.results import flags
from evenhand.studies.results.report.provenance import versions
from evenhand.studies.results.report.study import compute_report

CACHE = "reports"
OPEN_SECONDS = 4  # how old the numbers of an open study may be
# Everything that changes a report without a new rating.
CHANGES = """
SELECT * FROM
    (SELECT COUNT(*), MAX(id), COUNT(lifted_at), MAX(lifted_at) FROM studies_exclusion WHERE study_id = %s) exclusions,
    (SELECT COUNT(*), COUNT(finished_at), COUNT(withdrawn_at), MAX(withdrawn_at), COUNT(deleted_at), MAX(deleted_at)
     FROM studies_evaluator WHERE study_id = %s) people
"""
# The newest score of a picture and of an arm, and the study's newest event that may have changed one in place.
SCORES = f""",
    (SELECT MAX(id) FROM studies_imagescore) pictures, (SELECT MAX(id) FROM studies_armscore) arms,
    (SELECT MAX(at) FROM studies_auditevent
     WHERE study_id = %s AND action NOT IN ({", ".join(["%s"] * len(audit.DOWNLOADS))})) event
"""  # noqa: S608 (only placeholders are put in)


def cached_report(study: Study, population: str | None) -> dict[str, Any]:
    """Return a study's report, from the cache where it is there."""
    store, key = caches[CACHE], report_key(study)
    report: dict[str, Any] | None = store.get(f"{key}-{population}")
    if report is None:
        report = compute_report(study, population=population)
        seconds = None if study.state == Study.State.CLOSED else OPEN_SECONDS
        for name in {population, report["population"]}:  # files are asked for by the population that the page shows
            store.set(f"{key}-{name}", report, seconds)
    return report


def report_key(study: Study, *, scores: bool = False) -> str:
    """Return the key of a study's reports, from one small query; what it reads only ever grows or gains a time.

    scores: the key of what is computed from the pictures' scores, too.
    """
    with connection.cursor() as cursor:
        if scores:
            cursor.execute(CHANGES + SCORES, [study.pk, study.pk, study.pk, *audit.DOWNLOADS])
        else:
            cursor.execute(CHANGES, [study.pk, study.pk])
        changes = cursor.fetchone()
    version = study.current_version.sha256 if study.current_version else ""
    parts = [
        study.pk, study.name, study.prompt_set.name, study.state, study.ratings_root, version, changes, versions(),
        code_sha256(),
    ]  # fmt: skip
    return f"report-{hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()}"


@cache
def code_sha256() -> str:
    """Return the SHA-256 over the code that computes reports, so that a new version of it computes them anew."""
    digest = hashlib.sha256()
    folders = (Path(str(analysis.__file__)).parent, Path(__file__).parent)
    for path in [*(each for folder in folders for each in sorted(folder.glob("*.py"))), Path(flags.__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
