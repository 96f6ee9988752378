"""The results page: every chapter, its files, few queries, and a plain statement where there is nothing to tell."""

from __future__ import annotations

import csv
import io
import math
from html import unescape

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.exclusions import exclude
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import Study, Trial
from evenhand.studies.results.report import study_report
from evenhand.studies.results.tables import MAKERS
from evenhand.studies.results.tables.numbers import points, size
from tests.helpers.factories import make_admin, make_draft, make_ready_study
from tests.helpers.little_told import CASES
from tests.helpers.ratings import always, invite, queries_of, rate_booklet
from tests.helpers.study_page import study_page

pytestmark = [pytest.mark.django_db, pytest.mark.database]
FEW = 12  # queries, beside the beginning and the end of transactions


@pytest.fixture
def study(client: Client) -> Study:
    study = make_ready_study(owner=make_admin("ada"), quota=8)
    open_study(study)
    client.force_login(study.owner)
    return study


def rated(study: Study, *names: str) -> Study:
    for n, name in enumerate(names):
        rate_booklet(invite(study, name), lambda trial, n=n: (trial.position * (n + 2)) % 5 - 2)  # type: ignore[misc]
    return study


def page_of(client: Client, study: Study, **query: str) -> str:
    response = client.get(reverse("console:results", args=[study.pk]), query)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_the_answer_comes_first_with_candidate_baseline_and_no_preference(client: Client, study: Study) -> None:
    rated(study, "grace", "alan", "joan", "mary")
    close_study(study)
    page, first = page_of(client, study), study_report(study)["comparisons"][0]
    answer = page.partition('<p class="answer">')[2].partition("</p>")[0]
    for share in (first["candidate_share"], first["baseline_share"], first["none_share"]):
        assert f"{100 * share:.0f} %" in answer
    assert "95 % interval" in answer
    assert "after Holm, as one of 2 comparisons" in answer
    anchors = [page.index(f'<h2 id="{name}">') for name in ("answer", "strata", "comparisons", "evaluators", "files")]
    assert anchors == sorted(anchors)
    assert page.index('class="answer"') < page.index("histogram.svg")


def test_the_plans_primary_outcome_comes_first(client: Client) -> None:
    study = make_ready_study(owner=make_admin("ada"), primary_comparison=2)
    open_study(study)
    client.force_login(study.owner)
    rate_booklet(invite(study, "grace"), always(1))
    page = page_of(client, study)
    answer = page.partition('<p class="answer">')[2].partition("</p>")[0]
    assert "<strong>a = 10</strong>" in answer
    assert "The plan names this the primary outcome" in page


def test_no_p_value_is_shown_while_the_study_is_open(client: Client, study: Study) -> None:
    rated(study, "grace", "alan", "joan")
    page = page_of(client, study)
    assert "p = 0" not in page
    assert "p &lt; " not in page
    assert "Interim." in page


def test_the_page_says_which_difference_it_could_have_found_and_why_it_could_not(client: Client, study: Study) -> None:
    rated(study, "grace")
    page = page_of(client, study)
    assert page.count("There is no detectable difference: all ratings are of one evaluator") == 2
    rated(study, "alan", "joan", "mary", "heidi", "ivan", "judy", "olga")
    open_page = page_of(client, study)
    close_study(study)
    closed_page, report = page_of(client, study), study_report(study)
    first = report["comparisons"][0]["detectable"]
    assert not first["reason"]
    assert (
        f"The ratings so far find a net preference of <strong>{size(first['net_share'])} points</strong>" in open_page
    )
    told = f"This study could have found a net preference of <strong>{size(first['net_share'])} points</strong> or more"
    assert told in closed_page
    assert closed_page.count("80 find a true difference of that size") == 1
    rows = table(client, study, "comparisons")
    assert [float(row["detectable_net_share"] or "nan") for row in rows] == pytest.approx(
        [each["detectable"]["net_share"] or math.nan for each in report["comparisons"]], nan_ok=True
    )
    assert client.get(reverse("console:report", args=[study.pk])).json()["comparisons"][0]["detectable"] == first


def test_only_an_open_study_with_ratings_is_watched(client: Client, study: Study) -> None:
    assert "Watch while collecting" not in page_of(client, study)
    rated(study, "grace")
    assert page_of(client, study).count("there is no interval yet: all ratings are of one evaluator") == 2
    rated(study, "alan", "joan", "mary")
    page = page_of(client, study)
    for each in study_report(study)["comparisons"]:
        found = each["sequence"]
        name = f"{each['candidate_name']} against {each['baseline_name']}"
        told = f"{name}: net {points(found['estimate'])} points, {points(found['low'])} to {points(found['high'])}"
        assert f"{told}. Zero lies inside: nothing can be concluded yet." in page
    close_study(study)
    assert "Watch while collecting" not in page_of(client, study)


@pytest.mark.parametrize(("choice", "winner"), [(1, "a = 5"), (-1, "CFG w = 2")])
def test_a_difference_outside_the_sequence_may_be_concluded(client: Client, choice: int, winner: str) -> None:
    """Sixteen people who agree but for one answer each: the mean of the arm that they prefer is beyond doubt."""
    study = make_ready_study(owner=make_admin("ada"), quota=20)
    open_study(study)
    client.force_login(study.owner)
    for n in range(16):
        rate_booklet(invite(study, f"person {n}"), lambda trial, n=n: 0 if trial.position == n % 12 else choice)  # type: ignore[misc]
    first = study_report(study)["comparisons"][0]["sequence"]
    assert first["low"] * choice > 0 or first["high"] * choice > 0
    assert f"Zero lies outside: {winner} is preferred." in page_of(client, study)


def test_who_is_left_out_and_why_is_said_with_and_without(client: Client, study: Study) -> None:
    rated(study, "grace", "alan", "joan")
    for name in ("grace", "alan"):
        exclude(study.evaluators.get(note=name), reason="pressed one key", actor=study.owner)
    page = page_of(client, study)
    assert "2 of 3 evaluators were left out because “pressed one key” (2)." in page
    variants = ("as reported", "with all that is left out", "without flagged answers", "without evaluators who failed")
    assert all(name in page for name in variants)
    rows = table(client, study, "sensitivity")
    assert [row["evaluators"] for row in rows[:2]] == ["1", "3"]


def test_a_change_after_closing_is_marked_on_the_page(client: Client, study: Study) -> None:
    rated(study, "grace", "alan")
    close_study(study)
    assert "Changed after closing" not in page_of(client, study)
    exclude(study.evaluators.get(note="alan"), reason="a bot", actor=study.owner)
    page = page_of(client, study)
    assert "Changed after closing" in page
    [row] = table(client, study, "changes")
    assert (row["change"], row["reason"]) == ("exclusion made", "a bot")
    assert row["at"] in page


def table(client: Client, study: Study, name: str) -> list[dict[str, str]]:
    response = client.get(reverse("console:result_table", args=[study.pk, name, "csv"]))
    assert response["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(response.content.decode())))


def test_every_table_of_the_page_can_be_had_as_latex_and_csv(client: Client, study: Study) -> None:
    rated(study, "grace", "alan", "joan")
    page = page_of(client, study)
    names = {name for name in MAKERS if f"/tables/{name}.tex" in page}
    assert {"comparisons", "strata", "scores", "evaluators", "agreement", "sides", "times", "models"} <= names
    for name in names:
        for kind in ("tex", "csv"):
            response = client.get(reverse("console:result_table", args=[study.pk, name, kind]))
            assert response.status_code == 200
            assert f'filename="shapes-{name}.{kind}"' in response["Content-Disposition"]
    latex = client.get(reverse("console:result_table", args=[study.pk, "scores", "tex"])).content.decode()
    assert "\\toprule" in latex
    assert study.current_version is not None
    assert study.current_version.sha256 in latex


def test_another_kind_an_unknown_table_and_a_strangers_study_are_not_found(client: Client, study: Study) -> None:
    for name, kind in (("comparisons", "pdf"), ("secrets", "csv"), ("equivalence", "csv")):
        assert client.get(reverse("console:result_table", args=[study.pk, name, kind])).status_code == 404
    client.force_login(make_admin("mallory"))
    assert client.get(reverse("console:results", args=[study.pk])).status_code == 404
    assert client.get(reverse("console:result_table", args=[study.pk, "times", "csv"])).status_code == 404
    client.logout()
    assert client.get(reverse("console:results", args=[study.pk])).status_code == 302


def test_the_number_of_queries_is_small_and_the_same_for_every_study(client: Client, study: Study) -> None:
    address = reverse("console:results", args=[study.pk])
    client.get(address)

    def queries() -> int:
        return queries_of(lambda: client.get(address)) - 2  # the beginning and the end of the reading's transaction

    rated(study, "grace")
    few = queries()
    rated(study, "alan", "joan", "mary")
    exclude(study.evaluators.get(note="alan"), reason="a bot", actor=study.owner)
    assert queries() == few <= FEW


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_study_that_tells_little_has_a_page_and_figures_that_say_so(
    client: Client, study: Study, case: object
) -> None:
    case(study)  # type: ignore[operator]
    page = page_of(client, study)
    assert "nan" not in page.lower().split()
    assert "None" not in page
    report = study_report(study)
    if not report["n"]:
        assert "has no ratings that count" in page
        assert "detectable difference" not in page
    for name, kinds in {"histogram": ("svg", "png", "pdf"), "diverging": ("svg",), "scores": ("svg",)}.items():
        for kind in kinds:
            response = client.get(reverse(f"console:{name}", args=[study.pk, kind]))
            assert response.status_code in (200, 404)
            if name == "histogram":
                assert response.status_code == 200
            assert (f"{name}.{kind}" in page) <= (response.status_code == 200)


def test_the_study_page_keeps_the_answer_and_leads_here(client: Client, study: Study) -> None:
    rated(study, "grace", "alan")
    page = " ".join(study_page(client, study).split())
    assert '<p class="answer">' in page
    assert f'href="/console/studies/{study.pk}/results/?ratings=real"' in page


@pytest.mark.parametrize("crossed", [True, False])
def test_notes_on_models_name_answers_and_are_told_once(
    client: Client, study: Study, monkeypatch: pytest.MonkeyPatch, crossed: bool
) -> None:
    """Nobody says “no preference” in the first comparison, and nobody “strongly” in the second."""
    if not crossed:
        monkeypatch.setattr("evenhand.studies.results.report.study.MOST_CROSSED_FITS", 0)
    rng = np.random.default_rng(1)

    def preference(trial: Trial) -> int:
        assert trial.pair is not None
        return int(rng.choice([-2, -1, 1, 2] if trial.pair.comparison.position == 0 else [-1, 0, 1]))

    for name in ("grace", "alan", "joan", "mary", "heidi", "ivan"):
        rate_booklet(invite(study, name), preference)
    page = unescape(page_of(client, study))
    assert page.count("a = 5 against CFG w = 2: nobody chose “no preference”, so the thresholds beside it fall") == 1
    told = "a = 10 against CFG w = 2: nobody chose “baseline, strongly”, “candidate, strongly”, so"
    assert page.count(told) == 1
    assert page.count("nobody chose") == 2
    assert ("no random effects are fitted" in page) != crossed


def test_many_evaluators_come_in_pages(client: Client, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evenhand.studies.console.results.PEOPLE_PER_PAGE", 2)
    rated(study, "grace", "alan", "joan")
    names = [f"e{pk}" for pk in study.evaluators.order_by("pk").values_list("pk", flat=True)]
    first, second = page_of(client, study), page_of(client, study, people="2")
    assert all(f">{name}<" in first for name in names[:2])
    assert f">{names[2]}<" not in first
    assert f">{names[2]}<" in second
    assert len(table(client, study, "evaluators")) == 3


def test_a_draft_has_a_page_too(client: Client, study: Study) -> None:
    assert "no comparisons yet" in page_of(client, make_draft(study.owner, "Corgis"))


def test_the_plans_rules_stand_beside_what_was_left_out(client: Client) -> None:
    study = make_ready_study(owner=make_admin("hedy"), name="Rules", exclusion_rules="Who fails both checks.")
    open_study(study)
    client.force_login(study.owner)
    assert "The plan’s rules: “Who fails both checks.”" in page_of(client, study)
    assert "rule for the end of collecting" not in page_of(client, study)
