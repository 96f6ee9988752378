"""Kept reports: computed once, and anew after whatever changes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from evenhand.studies.exclusions import exclude, lift
from evenhand.studies.lifecycle import close_study
from evenhand.studies.models import Evaluator, Exclusion, Study
from evenhand.studies.rating.withdrawal import withdraw
from evenhand.studies.results.report import cached, study_report
from tests.helpers.ratings import always, invite, rate_booklet

pytestmark = pytest.mark.database


@pytest.fixture
def computed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """A cache that keeps reports; the populations of which a report was computed."""
    settings.CACHES = settings.CACHES | {"reports": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cached.caches[cached.CACHE].clear()
    calls: list[str | None] = []
    compute = cached.compute_report

    def counted(study: Study, *, population: str | None = None) -> dict[str, Any]:
        calls.append(population)
        return compute(study, population=population)

    monkeypatch.setattr(cached, "compute_report", counted)
    return calls


@pytest.fixture
def closed(study: Study) -> Study:
    for name in ("ada", "grace"):
        rate_booklet(invite(study, name), lambda trial: trial.position % 5 - 2)
    Study.objects.filter(pk=study.pk).update(state="collecting")
    study.refresh_from_db()
    close_study(study)
    return study


def test_a_closed_studys_report_is_computed_once_for_every_name_of_its_population(
    closed: Study, computed: list[str | None]
) -> None:
    one = study_report(closed)
    assert study_report(Study.objects.get(pk=closed.pk), population="real") == one == study_report(closed)
    assert computed == [None]
    assert study_report(closed, population="all")["n"] == one["n"]
    assert computed == [None, "all"]


def _excluded(person: Evaluator) -> None:
    exclude(person, reason="asleep", actor=person.study.owner)


def _excluded_singly(person: Evaluator) -> None:
    Exclusion.objects.create(study=person.study, rating=person.ratings.first(), reason="a slip")


def _withdrawn(person: Evaluator) -> None:
    withdraw(person)


def _deleted(person: Evaluator) -> None:
    withdraw(person, delete=True)


@pytest.mark.parametrize(
    ("change", "left"), [(_excluded, 12), (_excluded_singly, 23), (_withdrawn, 12), (_deleted, 12)]
)
def test_a_change_after_closing_is_seen_at_once_and_marked_with_its_date(
    change: Callable[[Evaluator], None], left: int, closed: Study, computed: list[str | None]
) -> None:
    assert study_report(closed)["n"] == 24
    assert study_report(closed)["changes_after_closing"] == []
    person = closed.evaluators.first()
    assert person is not None
    change(person)
    report = study_report(closed)
    assert (report["n"], len(computed)) == (left, 2)
    changes = report["changes_after_closing"]
    assert {each["evaluator"] for each in changes} == {f"e{person.pk}"}
    assert all(each["at"] >= report["provenance"]["dates"]["closed"] for each in changes)


def test_a_lifted_exclusion_is_seen_and_both_changes_are_listed(closed: Study, computed: list[str | None]) -> None:
    person = closed.evaluators.first()
    assert person is not None
    _excluded(person)
    assert study_report(closed)["n"] == 12
    lift(person, actor=closed.owner)
    report = study_report(closed)
    assert (report["n"], len(computed)) == (24, 2)
    told = [(each["change"], each["reason"]) for each in report["changes_after_closing"]]
    assert told == [("exclusion made", "asleep"), ("exclusion lifted", "asleep")]
    assert study_report(closed) == report
    assert len(computed) == 2


def test_an_exclusion_before_the_closing_is_no_change_after_it(closed: Study) -> None:
    person = closed.evaluators.first()
    assert person is not None
    _excluded(person)
    Exclusion.objects.update(made_at=timezone.now() - timedelta(days=1))
    assert study_report(closed)["changes_after_closing"] == []


def test_an_open_studys_report_is_kept_for_seconds_only(
    study: Study, computed: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rate_booklet(invite(study, "ada"), always(1))
    monkeypatch.setattr(cached, "OPEN_SECONDS", 100)
    assert study_report(study)["n"] == study_report(study)["n"] == 12
    assert len(computed) == 1
    monkeypatch.setattr(cached, "OPEN_SECONDS", 0)  # has run out when it is asked for
    exclude(invite(study, "grace"), reason="asleep", actor=study.owner)
    for _ in range(2):
        study_report(study)
    assert len(computed) == 3


def test_a_page_and_its_figures_and_files_compute_one_report(
    client: Client, closed: Study, computed: list[str | None]
) -> None:
    client.force_login(closed.owner)
    page = client.get(reverse("console:results", args=[closed.pk])).content.decode()
    for name, kind in (("histogram", "svg"), ("diverging", "png"), ("scores", "svg")):
        address = reverse(f"console:{name}", args=[closed.pk, kind])
        assert f"{address}?ratings=real" in page
        assert client.get(address, {"ratings": "real"}).status_code == 200
    client.get(reverse("console:report", args=[closed.pk]), {"ratings": "real"})
    client.get(reverse("console:result_table", args=[closed.pk, "comparisons", "csv"]), {"ratings": "real"})
    assert computed == [None]


def test_the_key_knows_the_program(closed: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cached.report_key(closed)
    assert cached.report_key(Study.objects.get(pk=closed.pk)) == before
    monkeypatch.setattr(cached, "code_sha256", lambda: "another")
    assert cached.report_key(closed) != before
