"""The pairs with their arms named: found, sorted, shown one by one, marked as unusable and used again."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.console.strength_curve import strength_curve
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import AuditEvent, Exclusion, Image, ImageScore, Pair, Skip, Study, Trial
from evenhand.studies.results.export import csv_lines, pair_lines
from evenhand.studies.results.report import study_report
from evenhand.studies.unusable_pairs import UnusableError, mark_unusable, take_back
from tests.helpers.factories import make_admin, make_member, make_ready_study
from tests.helpers.ratings import always, invite, queries_of, rate, rate_booklet

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = make_ready_study(owner=make_admin("ada"))
    open_study(study)
    return study


@pytest.fixture
def console(client: Client, study: Study) -> Client:
    client.force_login(study.owner)
    return client


def listed(console: Client, study: Study, **asked: Any) -> list[Pair]:
    page = console.get(reverse("console:pairs", args=[study.pk]), asked)
    assert page.status_code == 200
    return [line["pair"] for line in page.context["lines"]]


def address(name: str, pair: Pair) -> str:
    return reverse(f"console:{name}", args=[pair.comparison.study_id, pair.pk])


def answered(study: Study, preferences: dict[int, int], note: str = "Grace") -> None:
    """Somebody who has answered these pairs, by number."""
    person = invite(study, note)
    for pk, preference in preferences.items():
        trial = Trial.objects.filter(booklet__evaluator=person, kind="main").exclude(ratings__isnull=False).first()
        assert trial is not None
        Trial.objects.filter(pk=trial.pk).update(pair=pk)
        trial.refresh_from_db()
        rate(trial, preference)


def test_pairs_are_found_by_comparison_and_stratum(study: Study, console: Client) -> None:
    assert len(listed(console, study)) == 24
    second = listed(console, study, comparison=2)
    assert {pair.comparison.position for pair in second} == {1}
    assert len(second) == 12
    low = listed(console, study, comparison=2, stratum="low")
    assert {pair.stratum for pair in low} == {"low"}
    assert len(low) == 4
    assert listed(console, study, comparison="x", look="no such", sort="neither") == listed(console, study)


def test_pairs_are_sorted_by_what_people_said(study: Study, console: Client) -> None:
    agreed, split, mild = Pair.objects.filter(comparison__study=study)[:3]
    answered(study, {agreed.pk: 2, split.pk: -2, mild.pk: 1}, "Grace")
    answered(study, {agreed.pk: 2, split.pk: 1, mild.pk: 1}, "Alan")
    assert listed(console, study, sort="effect")[:3] == [agreed, mild, split]
    assert listed(console, study, sort="disagreement")[0] == split
    Pair.objects.filter(pk=mild.pk).update(largest_difference=3)
    assert listed(console, study, sort="difference")[0] == mild


def test_reported_flagged_and_odd_pairs_are_found(study: Study, console: Client) -> None:
    first, second, third = Pair.objects.filter(comparison__study=study)[:3]
    trial = Trial.objects.filter(pair=first, booklet__evaluator=invite(study, "Joan")).first()
    if trial is None:
        trial = Trial.objects.filter(pair=first, booklet__evaluator=invite(study, "Mary")).first()
    assert trial is not None  # one block of two booklets shows every pair
    Skip.objects.create(trial=trial, reason="report", note="it hurts")
    ImageScore.objects.create(image=second.baseline_image, metric="safety:checker", value=1.0)
    Pair.objects.filter(pk=third.pk).update(largest_difference=0)
    assert listed(console, study, look="reported") == [first]
    assert second in listed(console, study, look="flagged")
    assert listed(console, study, look="odd") == [third]
    assert listed(console, study, sort="reports")[0] == first
    assert "it hurts" in console.get(address("pair", first)).content.decode()


def test_a_pair_shows_its_arms_scores_strength_and_ratings(study: Study, console: Client) -> None:
    pair = Pair.objects.filter(comparison__study=study).select_related("comparison__candidate")[0]
    answered(study, {pair.pk: 2})
    ImageScore.objects.create(image=pair.baseline_image, metric="pickscore:model", value=0.21)
    ImageScore.objects.create(image=pair.candidate_image, metric="pickscore:model", value=0.24)
    Image.objects.filter(pk=pair.candidate_image_id).update(
        provenance={"effective_strength": [None, [3.0, 0.1], [5.0, 0.2]]}
    )
    page = console.get(address("pair", pair))
    text = page.content.decode()
    assert pair.comparison.candidate.label in text
    assert "PickScore" in text
    assert "0.0300" in text
    assert page.context["tallies"] == [
        {"criterion": page.context["tallies"][0]["criterion"], "simulated": False, "counts": [0, 0, 0, 0, 1],
         "mean": 2.0}
    ]  # fmt: skip
    assert page.context["curve"]["lines"] == [[], ["180.0,140.0 360.0,0.0"]]


def test_a_line_is_broken_where_nothing_was_measured() -> None:
    found = strength_curve([[[1.0, 0], None, [3.0, 0], [2.0, 0]], None])
    assert found is not None
    assert found["lines"] == [["0.0,140.0 0.0,140.0", "240.0,0.0 360.0,70.0"], []]
    assert found["means"] == [2.0, None]
    assert strength_curve([None, [None]]) is None


def test_neighbours_are_those_of_the_list(study: Study, console: Client) -> None:
    low = listed(console, study, stratum="low", comparison=1)
    page = console.get(address("pair", low[1]), {"stratum": "low", "comparison": "1"})
    assert (page.context["previous"], page.context["next"]) == (low[0].pk, low[2].pk)
    assert (page.context["place"], page.context["of"]) == (2, 4)


def test_a_pair_is_marked_for_a_reason_and_used_again(study: Study, console: Client) -> None:
    pair = Pair.objects.filter(comparison__study=study)[0]
    answer = console.post(address("change_use", pair), {"reason": "  "}, follow=True)
    assert "give a reason" in answer.content.decode()
    assert not Exclusion.objects.exists()
    answer = console.post(address("change_use", pair), {"reason": "torn", "stratum": "low"})
    assert answer["Location"] == address("pair", pair) + "?stratum=low"
    assert listed(console, study, look="unusable") == [pair]
    assert "Unusable: torn" in console.get(address("pair", pair)).content.decode()
    twice = console.post(address("change_use", pair), {"reason": "again"}, follow=True)
    assert "unusable already" in twice.content.decode()
    console.post(address("change_use", pair), {"again": "1"})
    assert listed(console, study, look="unusable") == []
    assert "“torn”" in console.get(address("pair", pair)).content.decode()
    actions = list(AuditEvent.objects.filter(study=study).order_by("at").values_list("action", flat=True))
    assert actions[-2:] == ["pair marked unusable", "pair used again"]
    log = console.get(reverse("console:audit_log", args=[study.pk])).content.decode()
    assert f"Marked pair {pair.pk} of comparison 1" in log


def test_pairs_of_other_studies_and_viewers_marks_are_refused(study: Study, client: Client) -> None:
    pair = Pair.objects.filter(comparison__study=study)[0]
    other = make_ready_study(owner=make_admin("eve"), name="Others")
    client.force_login(other.owner)
    assert client.get(reverse("console:pair", args=[other.pk, pair.pk])).status_code == 404
    assert client.get(address("pair", pair)).status_code == 404
    client.force_login(make_member(study, "viewer"))
    assert client.get(address("pair", pair)).status_code == 200
    assert client.post(address("change_use", pair), {"reason": "torn"}).status_code == 403


def test_a_reason_that_is_too_long_is_refused(study: Study) -> None:
    pair = Pair.objects.filter(comparison__study=study)[0]
    with pytest.raises(UnusableError, match="201 characters"):
        mark_unusable(pair, reason="x" * 201, actor=study.owner)


def test_results_leave_an_unusable_pair_out_and_tell_both_numbers(study: Study, console: Client) -> None:
    ratings = rate_booklet(invite(study, "Grace"), always(1))
    rate_booklet(invite(study, "Alan"), always(1))
    pair = ratings[0].trial.pair
    assert pair is not None
    before = study_report(study)
    mark_unusable(pair, reason="torn", actor=study.owner)
    report = study_report(study)
    lost = before["n"] - report["n"]
    assert lost >= 1
    assert before["n"] == 24
    told = report["left_out"]
    assert (told["pairs"], told["pair_ratings"], told["n_without_pairs"], told["n_with_pairs"]) == (
        1, lost, 24 - lost, 24,
    )  # fmt: skip
    variants = report["comparisons"][pair.comparison.position]["sensitivity"]
    assert variants["with_unusable_pairs"]["n"] - variants["as_reported"]["n"] == lost
    page = console.get(reverse("console:results", args=[study.pk])).content.decode()
    assert f"{24 - lost} ratings count without it, 24 with." in page
    assert "with unusable pairs" in page
    rows = list(csv.DictReader(csv_lines(study)))
    marked = [row for row in rows if row["excluded"] == "TRUE"]
    assert len(rows) == 24
    assert len(marked) == lost
    assert {row["exclusion_reason"] for row in marked} == {"unusable pair: torn"}
    of_pair = [row for row in csv.DictReader(pair_lines(study)) if row["excluded"] == "TRUE"]
    assert [(int(row["pair"]), row["n"], row["exclusion_reason"]) for row in of_pair] == [(pair.pk, "0", "torn")]
    take_back(pair, actor=study.owner)
    assert study_report(study)["n"] == 24


@pytest.mark.parametrize("sort", ["plan", "disagreement", "reports"])
def test_the_pages_take_at_most_twelve_queries(study: Study, console: Client, sort: str) -> None:
    for name in ("Grace", "Alan"):
        rate_booklet(invite(study, name), always(1))
    pair = Pair.objects.filter(comparison__study=study)[0]
    mark_unusable(pair, reason="torn", actor=study.owner)
    asked = {"sort": sort, "look": "unusable"}
    assert queries_of(lambda: console.get(reverse("console:pairs", args=[study.pk]), asked)) <= 12
    assert queries_of(lambda: console.get(address("pair", pair), asked)) <= 12
