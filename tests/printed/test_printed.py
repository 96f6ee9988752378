"""The printed report: what a paper's appendix needs, from the record alone."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies.drafts import configuration_of
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Study
from evenhand.studies.printed.answers import Facts, power_reached
from evenhand.studies.printed.answers import plan as plan_answer
from evenhand.studies.printed.checklists import CHECKLISTS, answered
from evenhand.studies.printed.paragraph import listed, methods_paragraph, ordinal
from evenhand.studies.results.report import study_report
from tests.helpers.bundles import SECRETS, rated_study
from tests.helpers.factories import make_admin, make_draft, make_ready_study

pytestmark = pytest.mark.django_db


def page_of(client: Client, study: Study) -> str:
    client.force_login(study.owner)
    response = client.get(reverse("console:printed", args=[study.pk]))
    assert response.status_code == 200
    return re.sub(r"\s+", " ", unescape(response.content.decode()))


def test_the_report_prints_numbers_design_texts_and_provenance(client: Client) -> None:
    study = rated_study(recruitment="Students of one department, by a mailing list.")
    page = page_of(client, study)
    report = study_report(study)
    assert study.ratings_root in page
    assert report["provenance"]["configuration_sha256"] in page
    assert report["provenance"]["subset"]["final_sha256"] in page
    assert "1 evaluator of 2 was left out: 1 (pressed one key); 2 people withdrew." in page
    assert "Which picture is better, in quality and in how well it matches the text?" in page
    assert "An example" in page  # of the instructions
    assert "(Students of one department, by a mailing list)" in page
    for each in report["comparisons"]:
        assert f"{each['candidate']} against {each['baseline']}" in page
        assert f"{each['n']} ratings of {each['pairs']} pairs" in page


def test_the_report_names_nobody(client: Client) -> None:
    page = page_of(client, rated_study())
    assert [name for name, secret in SECRETS.items() if secret in page] == []


def test_what_the_record_cannot_know_is_visibly_open(client: Client) -> None:
    page = page_of(client, rated_study())
    assert '<td class="open"> left open: fill in by hand </td>' in page
    assert "Payment is not in the record: add it." in page
    told = page_of(client, rated_study(name="Told", approval="2026-17", payment="Three dollars."))
    assert "Approval 2026-17." in told
    assert "Payment: Three dollars." in told
    assert "Payment is not in the record" not in told


def test_an_open_study_is_marked_and_a_draft_has_no_report(client: Client) -> None:
    study = make_ready_study(owner=make_admin("ada"))
    client.force_login(study.owner)
    early = client.get(reverse("console:printed", args=[study.pk]), follow=True)
    assert "a report is printed once it has been opened" in early.content.decode()
    open_study(study)
    page = page_of(client, study)
    assert "<strong>Interim.</strong>" in page
    assert "No rating counts yet." in page


def test_another_admin_sees_nothing(client: Client) -> None:
    study = rated_study()
    client.force_login(make_admin("mallory"))
    assert client.get(reverse("console:printed", args=[study.pk])).status_code == 404


def test_simulated_ratings_are_marked_in_the_paragraph() -> None:
    study = rated_study()
    paragraph = " ".join(methods_paragraph(study, configuration_of(study), study_report(study, population="simulated")))
    assert "These ratings are simulated: they are no people’s." in paragraph
    real = " ".join(methods_paragraph(study, configuration_of(study), study_report(study, population="real")))
    assert "simulated" not in real


def test_the_paragraph_follows_the_plan() -> None:
    study = rated_study(equivalence_margin=10, both_bad_option="Both are bad")
    paragraph = " ".join(methods_paragraph(study, configuration_of(study), study_report(study)))
    for text in (
        "around the 90th, 50th and 10th percentiles of the CLIP score (demo)",
        "Before the pairs came instructions with an example and 1 practice pair with feedback.",
        "Among the pairs stood 1 attention check and 1 repeated pair a person",
        "within ±10 points, a margin set before the study was opened",
        "A sixth option, “Both are bad”, counts as no preference.",
        "p-values of the comparisons are adjusted by Holm’s method",
    ):
        assert text in paragraph


@pytest.mark.parametrize(
    ("plan", "told", "frozen"),
    [
        ({}, "The plan named no primary outcome; reported as such is the first comparison by the first criterion, ",
         "and names no primary outcome."),
        ({"primary_comparison": 2}, "The primary outcome, fixed in the plan before the first rating, is ",
         "with its primary outcome."),
        ({"primary_criterion": "overall"}, "The primary outcome, fixed in the plan before the first rating, is ",
         "with its primary outcome."),
    ],
)  # fmt: skip
def test_a_primary_outcome_is_the_plans_only_where_it_names_one(
    client: Client, plan: dict[str, Any], told: str, frozen: str
) -> None:
    study = rated_study(**plan)
    configuration, report = configuration_of(study), study_report(study)
    main = report["comparisons"][plan.get("primary_comparison", 1) - 1]
    statistics = methods_paragraph(study, configuration, report)[-1]
    assert f"{told}the net preference for {main['candidate']} over {main['baseline']} by the" in statistics
    assert ("fixed in the plan" in statistics) == bool(plan)
    assert frozen in plan_answer(Facts(study, configuration, report))
    assert ("The plan names none: it is the first comparison" in page_of(client, study)) != bool(plan)


def test_every_checklist_is_answered_for_any_study() -> None:
    study = make_draft()
    Study.objects.filter(pk=study.pk).update(state="collecting")
    study.refresh_from_db()
    checklists = answered(Facts(study, configuration_of(study), study_report(study)))
    assert [checklist.source for checklist in checklists] == list(CHECKLISTS)
    for checklist in checklists:
        numbers = [item.number for item in checklist.items]
        assert len(set(numbers)) == len(numbers)
        assert all(item.asks for item in checklist.items)


def test_the_power_of_the_sample_is_told_where_it_can_be() -> None:
    study = rated_study()
    report = study_report(study)
    facts = Facts(study, configuration_of(study), report)
    known = [each for each in report["comparisons"] if each["detectable"]["net_share"] is not None]
    assert bool(power_reached(facts)) == bool(known)
    report["comparisons"][0]["detectable"] = {"net_share": 0.127, "power": 0.8, "reason": ""}
    assert power_reached(facts).startswith("80% for a net preference of 13 points or more")
    for each in report["comparisons"]:
        each["detectable"]["net_share"] = None
    assert power_reached(facts) == ""


@pytest.mark.parametrize(
    ("number", "text"), [(90, "90th"), (1, "1st"), (22, "22nd"), (13, "13th"), (97.5, "97.5th"), (3, "3rd")]
)
def test_ordinals(number: float, text: str) -> None:
    assert ordinal(number) == text


def test_lists_of_parts() -> None:
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
