"""The evaluators' chapter: flags, steadiness, suspect checks, links, exclusions; the same queries for any number."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from evenhand.studies.access import completion_code, enrolment_link
from evenhand.studies.console.evaluator_table import evaluators_context, people_lines
from evenhand.studies.drafts import configuration_of
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Booklet, Evaluator, Exclusion, Rating, Study, Trial
from evenhand.studies.procedure import PROLIFIC, parse_questions
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.results.report import study_report
from tests.helpers.factories import make_admin, make_draft, make_prompt_set, make_ready_study
from tests.helpers.html_forms import values_of
from tests.helpers.ratings import rate
from tests.helpers.study_page import study_page

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = make_ready_study(owner=make_admin("ada"), attention_checks=2, repeats=2, quota=24)
    open_study(study)
    return study


@pytest.fixture
def console(client: Client, study: Study) -> Client:
    client.force_login(study.owner)
    return client


def somebody(study: Study, note: str, *, careful: bool = True) -> Evaluator:
    """Rates a whole booklet towards the candidate; careless people press the wrong side of every check."""
    person = enrol(study, note=note)
    consent(person)
    for trial in Trial.objects.filter(booklet__evaluator=person).select_related("booklet__study").order_by("position"):
        if trial.kind == Trial.Kind.ATTENTION:
            assert trial.expected_choice is not None
            rate(trial, 2 * trial.expected_choice * (1 if careful else -1))
        else:
            rate(trial, 1 if careful or trial.kind == Trial.Kind.MAIN else -1)
    return person


def line_of(study: Study, person: Evaluator) -> Any:
    return people_lines(study, configuration_of(study), Evaluator.objects.filter(pk=person.pk))[0]


def test_failed_checks_are_a_flag_with_a_reason_and_nothing_more(study: Study) -> None:
    grace, alan = somebody(study, "Grace"), somebody(study, "Alan", careful=False)
    assert (line_of(study, grace).flag, line_of(study, grace).steady) == ("", "2 of 2")
    assert (line_of(study, alan).flag, line_of(study, alan).steady) == ("failed 2 of 2 attention checks", "0 of 2")
    assert line_of(study, alan).counts["rated"] == line_of(study, alan).of == 12
    assert Exclusion.objects.count() == 0
    assert study_report(study)["n"] == 24


def test_fast_and_untimed_answers_straight_lines_and_small_pictures_are_marked(study: Study, console: Client) -> None:
    grace, alan = somebody(study, "Grace"), somebody(study, "Alan")
    ratings = Rating.objects.filter(evaluator=alan).order_by("sequence")
    for field, value, pks in (
        ("elapsed_ms", 120, ratings[:3]),
        ("elapsed_ms", None, ratings[3:5]),
        ("viewport", {"picture_width_device": 20}, ratings[5:6]),  # of 64
    ):
        Rating.objects.filter(pk__in=[rating.pk for rating in pks]).update(**{field: value})
    ratings.filter(trial__kind="main").update(choice=2)
    assert line_of(study, grace).marks == []
    marks = ["3 answers under 300 ms", "12 in a row the same key", "2 without a time", "1 pair seen too small"]
    assert line_of(study, alan).marks == marks
    page = console.get(reverse("console:people", args=[study.pk])).content.decode()
    assert all(mark in page for mark in marks)
    assert Exclusion.objects.count() == 0


def test_a_check_that_many_fail_is_suspect_itself(study: Study, console: Client) -> None:
    for i in range(22):
        somebody(study, f"person {i}", careful=i % 3 == 0)
    suspect = evaluators_context(study, configuration_of(study))["suspect_checks"]
    assert suspect
    assert all(each["failed"] > 0.3 * each["of"] >= 1.5 for each in suspect)
    assert "speak against the check" in study_page(console, study)


def test_leaving_somebody_out_is_reversible_and_results_follow(study: Study, console: Client) -> None:
    grace, alan = somebody(study, "Grace"), somebody(study, "Alan", careful=False)
    address = reverse("console:exclusion", args=[study.pk, alan.pk])
    console.post(address, {"reason": ""})
    assert Exclusion.objects.count() == 0
    console.post(address, {"reason": "failed 2 of 2 attention checks"})
    console.post(address, {"reason": "again"})
    assert study_report(study)["n"] == 12
    page = console.get(reverse("console:people", args=[study.pk])).content.decode()
    assert "left out: failed 2 of 2 attention checks" in page
    console.post(address, {"lift": "1"})
    console.post(address, {"lift": "1"})
    assert study_report(study)["n"] == 24
    assert Rating.objects.filter(evaluator=alan).count() == 16
    exclusion = Exclusion.objects.get()
    assert exclusion.lifted_by == study.owner
    assert list(study.events.order_by("at").values_list("action", flat=True))[-2:] == ["excluded", "exclusion lifted"]
    stranger = make_ready_study(name="Corgis")
    assert console.post(reverse("console:exclusion", args=[stranger.pk, grace.pk]), {"reason": "x"}).status_code == 404


def test_states_tell_who_is_silent(study: Study) -> None:
    grace = enrol(study)
    assert line_of(study, grace).state == "invited"
    consent(grace)
    assert line_of(study, grace).state == "rating"
    long_ago = timezone.now() - timedelta(minutes=configuration_of(study).lease_minutes + 1)
    Booklet.objects.filter(evaluator=grace).update(claimed_at=long_ago)
    assert line_of(study, grace).state == "silent"
    Evaluator.objects.filter(pk=grace.pk).update(finished_at=timezone.now())
    assert line_of(study, grace).state == "finished a part"  # nothing was answered
    rate(Trial.objects.filter(booklet__evaluator=grace, kind=Trial.Kind.MAIN)[0], 1)
    assert line_of(study, grace).state == "finished"


def test_instructions_last_until_the_first_trial_is_seen() -> None:
    study = make_ready_study(introduction=True, practice_trials=1, attention_checks=1)
    open_study(study)
    grace = enrol(study)
    consent(grace)
    assert line_of(study, grace).state == "instructions"
    trials = Trial.objects.filter(booklet__evaluator=grace)
    trials.filter(kind=Trial.Kind.PRACTICE).update(shown_at=timezone.now())
    assert line_of(study, grace).state == "instructions"
    trials.filter(pk=trials.exclude(kind=Trial.Kind.PRACTICE).order_by("position")[0].pk).update(
        shown_at=timezone.now()
    )
    assert line_of(study, grace).state == "rating"


def test_everybody_is_on_some_page(study: Study, console: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evenhand.studies.console.people.PER_PAGE", 2)
    alan = somebody(study, "Alan", careful=False)
    for name in ("Grace", "Mary", "Edsger"):
        enrol(study, note=name)
    address = reverse("console:people", args=[study.pk])
    pages = [console.get(address, {"page": number}) for number in (1, 2)]
    notes = [[line.person.note for line in page.context["people"]] for page in pages]
    assert notes == [["Edsger", "Mary"], ["Grace", "Alan"]]
    assert "?page=2&amp;sort=newest" in pages[0].content.decode()
    assert pages[1].context["people"][1].person == alan
    assert pages[1].context["people"][1].flag == "failed 2 of 2 attention checks"
    assert "1 failed an attention check" in study_page(console, study)


def test_the_links_are_there_and_can_be_renewed(study: Study, console: Client) -> None:
    old = enrolment_link(study)
    page = study_page(console, study)
    assert old in page
    assert "?PROLIFIC_PID={{%PROLIFIC_PID%}}&amp;STUDY_ID={{%STUDY_ID%}}" in page
    console.post(reverse("console:renew_link", args=[study.pk]))
    study.refresh_from_db()
    assert enrolment_link(study) != old
    assert console.get(old).status_code == 404
    assert study.events.filter(action="enrolment link renewed").exists()


def test_the_code_that_somebody_is_shown_is_listed_and_no_other(study: Study, console: Client) -> None:
    invited, begun = somebody(study, "Grace"), enrol(study, external_key="p1")
    consent(begun)
    address = reverse("console:people", args=[study.pk])
    page = console.get(address).content.decode()
    assert completion_code(invited, "") not in page
    assert completion_code(begun, "") not in page
    Evaluator.objects.update(finished_at=timezone.now())
    page = console.get(address).content.decode()
    assert completion_code(begun, "") not in page  # nothing was answered
    rate(Trial.objects.filter(booklet__evaluator=begun, kind=Trial.Kind.MAIN)[0], 1)
    page = console.get(address).content.decode()
    assert completion_code(begun, "") in page
    assert completion_code(invited, "") not in page


def test_the_page_takes_the_same_queries_for_any_number_of_evaluators(study: Study, console: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            console.get(reverse("console:people", args=[study.pk]))
        return len(captured)

    somebody(study, "Grace")
    queries()
    few = queries()
    for i in range(6):
        somebody(study, f"person {i}", careful=bool(i % 2))
    assert queries() == few


def test_the_plan_keeps_what_evaluators_go_through(client: Client) -> None:
    ada = make_admin("ada")
    client.force_login(ada)
    prompts = make_prompt_set()
    given = {
        "name": "Corgis", "prompt_set": prompts.pk, "subset_size": 40, "percentiles": "90, 50, 10", "per_stratum": 4,
        "seed": 0, "draw": "random", "deduplicate": "none", "near_duplicate_cosine": 0.95, "encoder": "demo",
        "checkpoint": "demo", "scheduler": "ddim", "steps": 4, "dtype": "float32", "batch_size": 4, "strength": 2,
        "scales": "5, 10", "sfg_strength": 1, "primary_comparison": 1, "trials_per_evaluator": 12, "quota": 3,
        "criterion1_name": "overall", "criterion1_question": "Which is better?",
        "criterion1_options": "1\n2\n3\n4\n5", "criteria_order": "together", "reasons_share": 1, "smallest_picture": 0,
        "confirm_answers": "on", "options_delay_ms": 500, "lease_minutes": 60,
        "introduction": "on",
        "practice_trials": 2, "comprehension": "May you skip? | *Yes | No", "attention_checks": 2, "repeats": 1,
        "break_every": 6, "consent": "Read this.", "contact": "ethics@example.org", "approval": "2026-17",
        "minimum_age": 18, "debriefing": "Thank you.", "panel_parameters": "worker, assignment",
        "completion_code": "C0FFEE", "completion_url": "https://panel.example.org/?cc={code}",
    }  # fmt: skip
    wrong = {"comprehension": "May you skip? | Yes | No", "completion_url": "nowhere", "repeats": 99}
    errors = client.post(reverse("console:new_study"), given | wrong).context["form"].errors
    assert "mark one right option" in errors["comprehension"][0]
    wrong |= {"comprehension": "", "panel_parameters": "worker, worker", "quota": 0, "minimum_age": 999}
    response = client.post(reverse("console:new_study"), given | wrong)
    assert set(response.context["form"].errors) == set(wrong) - {"comprehension"}
    assert "is not a web address" in response.content.decode()
    assert 'value="ethics@example.org"' in response.content.decode()  # what was right is still there
    assert Study.objects.count() == 0
    assert client.post(reverse("console:new_study"), given).status_code == 302
    study = Study.objects.get()
    configuration = configuration_of(study)
    assert configuration.criteria[0].options == ("1", "2", "3", "4", "5")
    assert configuration.comprehension == parse_questions("May you skip? | *Yes | No")
    assert configuration.panel_parameters == ("worker", "assignment")
    assert (configuration.introduction, configuration.confirm_answers, configuration.allow_correction) == (
        True, True, False,
    )  # fmt: skip
    again = values_of(client.get(reverse("console:change_plan", args=[study.pk])).content.decode())
    client.post(reverse("console:change_plan", args=[study.pk]), again)
    study.refresh_from_db()
    assert configuration_of(study) == configuration


def test_a_plain_study_says_what_it_does_not_measure(client: Client) -> None:
    study = make_ready_study(owner=make_admin("ada"))
    client.force_login(study.owner)
    page = study_page(client, study)
    assert "No practice, attention checks or repeated pairs" in page
    assert configuration_of(make_draft(name="Corgis")).panel_parameters == PROLIFIC


def test_checks_and_repeats_say_how_far_they_reach(study: Study, console: Client) -> None:
    page = study_page(console, study)
    assert "2 attention checks, 2 repeated pairs" in page
    assert "passes all 2 in 16% of cases" in page
    assert "agrees with its first answer in 36% of cases" in page
