"""A report of metrics is computed once for all figures and tables of a page, and anew after any new score."""

from __future__ import annotations

from typing import Any

import pytest

from evenhand.studies import audit
from evenhand.studies.lifecycle import close_study
from evenhand.studies.models import ImageScore, Pair, Scoring, Study
from evenhand.studies.results.objective import cached
from evenhand.studies.results.report import cached as report_cached
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = make_ready_study(owner=make_admin("ada"), quota=8)
    for pair in Pair.objects.filter(comparison__study=study):
        for image in (pair.baseline_image, pair.candidate_image):
            ImageScore.objects.get_or_create(image=image, metric="clip:demo", defaults={"value": 0.5})
    Study.objects.filter(pk=study.pk).update(state="collecting")
    study.refresh_from_db()
    close_study(study)
    return study


@pytest.fixture
def computed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[Scoring | None]:
    """A cache that keeps reports; the scorings of which one was computed."""
    settings.CACHES = settings.CACHES | {"reports": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    report_cached.caches[report_cached.CACHE].clear()
    calls: list[Scoring | None] = []
    compute = cached.objective_report

    def counted(study: Study, scoring: Scoring | None = None, *, population: str | None = None) -> dict[str, Any]:
        calls.append(scoring)
        return compute(study, scoring, population=population)

    monkeypatch.setattr(cached, "objective_report", counted)
    return calls


def test_a_report_is_computed_once(study: Study, computed: list[Scoring | None]) -> None:
    first = cached.cached_objective_report(study, None, None)
    assert cached.cached_objective_report(Study.objects.get(pk=study.pk), None, None) == first
    assert computed == [None]


def test_a_new_score_and_an_import_show_at_once(study: Study, computed: list[Scoring | None]) -> None:
    before = cached.cached_objective_report(study, None, None)
    pair = Pair.objects.filter(comparison__study=study).first()
    assert pair is not None
    ImageScore.objects.create(image=pair.baseline_image, metric="beauty", value=1.0)
    with_new_metric = cached.cached_objective_report(study, None, None)
    assert len(with_new_metric["metrics"]) == len(before["metrics"]) + 1

    ImageScore.objects.filter(image=pair.baseline_image, metric="clip:demo").update(value=0.9)
    audit.record(study, "scores imported", file="scores.csv")
    assert cached.cached_objective_report(study, None, None)["means"] != with_new_metric["means"]
    assert len(computed) == 3
