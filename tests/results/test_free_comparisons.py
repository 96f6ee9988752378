"""Comparisons of any arms: findings name both, and what nothing connects is said."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.generation.guidance import ClassifierFree
from evenhand.studies.assignment.booklets import build_blocks
from evenhand.studies.console.power import plan_box
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Booklet, Study, Trial
from evenhand.studies.printed.paragraph import methods_paragraph
from evenhand.studies.results import figures
from evenhand.studies.results.report import study_report
from evenhand.studies.results.tables import tables_of
from tests.helpers.factories import make_ready_study
from tests.helpers.ratings import invite, rate_booklet

ARMS = tuple(ClassifierFree(float(w)) for w in (2, 3, 4, 5))


@pytest.fixture
def study(db: None) -> Study:
    """Arms 1 and 3 against arms 0 and 2: two pairs of arms that nothing connects. People prefer arm 1, and arm 2."""
    made = make_ready_study(baseline=ARMS[0], candidates=ARMS[1:], comparisons=((0, 1), (2, 3)))
    build_blocks(made, 1)
    for number in range(Booklet.objects.filter(study=made).count()):
        rate_booklet(invite(made, f"person {number}"), _preference)
    return made


def _preference(trial: Trial) -> int:
    """Two of three ratings follow the rule, the third contradicts it, so that leads are finite."""
    assert trial.pair is not None
    with_rule = 1 if trial.pair.comparison.position == 0 else -1
    return -with_rule if trial.pair.stratum == "low" else with_rule


def test_groups_of_arms_that_nothing_connects_have_scales_of_their_own(study: Study) -> None:
    report = study_report(study)
    davidson = report["criteria"][0]["davidson"]
    names = ["CFG w = 2", "CFG w = 3", "CFG w = 4", "CFG w = 5"]
    assert davidson["groups"] == [names[:2], names[2:]]
    assert davidson["reason"].startswith("no chain of comparisons connects all arms")
    estimates = {score["name"]: (score["group"], score["estimate"]) for score in davidson["scores"]}
    assert estimates["CFG w = 3"] == (1, pytest.approx(-estimates["CFG w = 2"][1]))
    assert estimates["CFG w = 4"][0] == 2
    assert estimates["CFG w = 4"][1] > 0 > estimates["CFG w = 5"][1]
    assert "Group" in [column.title for column in tables_of(report)["scores"].columns]
    assert "group 2" in figures.scores(report).decode()


def test_findings_name_both_arms_and_mark_the_baseline_alone(study: Study) -> None:
    first, second = (each["finding"] for each in study_report(study)["comparisons"])
    assert first.startswith("CFG w = 3 preferred to CFG w = 2 (baseline) in 67 %")
    assert second.startswith("CFG w = 4 preferred to CFG w = 5 in 67 %")
    drawn = figures.histogram(study_report(study)).decode()
    assert "CFG w = 3 preferred to CFG w = 2 (baseline)<" in drawn  # a line of its own, as both names may be long


def test_the_results_page_and_the_printed_paragraph_follow(study: Study, client: Client) -> None:
    client.force_login(study.owner)
    page = client.get(reverse("console:results", args=[study.pk])).content.decode()
    assert "no chain of comparisons connects all arms" in page
    assert "First arm" in page
    assert page.count("(baseline)") > 0
    told = " ".join(methods_paragraph(study, configuration_of(study), study_report(study)))
    assert f"{ARMS[3].label()} against {ARMS[2].label()}" in told
    plan = client.get(reverse("console:versions", args=[study.pk])).content.decode()
    assert f"2: {ARMS[3].label()} against {ARMS[2].label()}" in plan


def test_the_power_box_counts_comparisons(study: Study) -> None:
    assert "comparisons=2" in plan_box(configuration_of(study))["address"]
