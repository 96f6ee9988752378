"""A whole study with two criteria by simulation, from the link to the CSV and the report."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.criteria import PRESETS
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import Rating, Study
from evenhand.studies.rating import chain
from evenhand.studies.results.report import study_report
from tests.helpers.factories import make_ready_study

pytestmark = pytest.mark.django_db(transaction=True)

# Strengths of both comparisons by the first criterion, then by the second: the criteria disagree about both.
STRENGTHS = [9.0, -9.0, -9.0, 9.0]


def simulated(live_server: LiveServer, **options: Any) -> str:
    output = io.StringIO()
    values: dict[str, Any] = {"preference": STRENGTHS, "noise": 0.0, "lapse_rate": 0.0} | options
    call_command("simulate_evaluators", "Shapes", stdout=output, verbosity=0, url=live_server.url, **values)
    return output.getvalue()


def exported() -> list[dict[str, str]]:
    output = io.StringIO()
    call_command("export_preferences", "Shapes", stdout=output)
    return list(csv.DictReader(io.StringIO(output.getvalue())))


@pytest.mark.parametrize(("order", "people", "answers"), [("together", 2, 24), ("runs", 4, 12)])
def test_two_criteria_from_the_link_to_the_csv(order: str, people: int, answers: int, live_server: LiveServer) -> None:
    study = make_ready_study(
        criteria=(PRESETS["match"], PRESETS["appeal"]),
        criteria_order=order,
        quota=people,
        attention_checks=2,
        repeats=1,
        both_bad_option="Both are bad",
        reasons=("Blurry", "Wrong text"),
        reasons_share=0.5,
    )
    open_study(study)
    told = simulated(live_server, evaluators=people)
    assert told.startswith(f"{people} SIMULATED evaluators ({people} finished)")
    close_study(study)
    assert list(chain.faults(study)) == []

    rows = [row for row in exported() if row["trial_kind"] == "main"]
    assert len(rows) == people * answers
    assert Counter(row["criterion"] for row in rows) == {"match": 24, "appeal": 24}
    preferences = {(row["criterion"], row["comparison"], row["preference"]) for row in rows}
    assert preferences == {("match", "1", "2"), ("match", "2", "-2"), ("appeal", "1", "-2"), ("appeal", "2", "2")}
    assert all(row["simulated"] == "TRUE" for row in rows)
    assert {row["reasons"] for row in rows} > {""}

    report = study_report(Study.objects.get())
    found = {(each["criterion"], each["number"]): each for each in report["comparisons"]}
    assert {key: each["candidate_share"] for key, each in found.items()} == {
        ("match", 1): 1.0, ("match", 2): 0.0, ("appeal", 1): 0.0, ("appeal", 2): 1.0,
    }  # fmt: skip
    assert all(each["n"] == 12 and each["pairs"] == 12 for each in found.values())


def test_neutral_answers_sometimes_say_both_are_bad(live_server: LiveServer) -> None:
    open_study(make_ready_study(quota=2, both_bad_option="Both are bad"))
    simulated(live_server, evaluators=2, preference=[0.0])
    assert 0 < Rating.objects.filter(both_bad=True).count() < Rating.objects.filter(choice=0).count() == 24


def test_a_judge_that_needs_the_text_is_not_sent_where_it_is_hidden(live_server: LiveServer) -> None:
    open_study(make_ready_study(criteria=(PRESETS["appeal"],)))
    with pytest.raises(CommandError, match="a criterion hides it"):
        simulated(live_server, evaluators=1, judge="pictures")
    with pytest.raises(CommandError, match="takes one strength or 2, one a comparison, not 3"):
        simulated(live_server, evaluators=1, preference=[1.0, 2.0, 3.0])
