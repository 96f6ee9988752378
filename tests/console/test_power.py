"""The power page: its answers, its figure, its simulation, bad numbers, and the box on a study's plan."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evenhand.analysis.planning import Plan
from evenhand.studies.console import power
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Study
from tests.helpers.factories import make_admin, make_draft, make_ready_study
from tests.helpers.ratings import always, invite, rate_booklet

pytestmark = pytest.mark.django_db
PAGE = "/console/power/"


@pytest.fixture
def ada() -> User:
    return make_admin("ada")


@pytest.fixture
def console(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_the_paper_s_plan_stands_there_by_itself(console: Client) -> None:
    """25 points: the known answer of tests/analysis/test_power.py."""
    assert reverse("console:power") == PAGE
    response = console.get(PAGE)
    assert "finds differences of <strong>25 points</strong> net with 80 % power; it is the paper’s" in text_of(response)
    assert "510: 255 of each comparison, 1.7 a pair" in text_of(response)
    assert "255 ratings tell as much as 99 independent ones" in text_of(response)  # design effect 2.5647
    assert "29 evaluators with 30 pairs each" in text_of(response)
    assert response.context["found"].required.value == 29


def test_other_numbers_have_other_answers_and_the_paper_s_beside_them(console: Client) -> None:
    given: dict[str, Any] = {"evaluators": 40, "pairs_each": 50, "comparisons": 1, "difference": 10, "power": 90}
    response = console.get(PAGE, given)
    plan = response.context["plan"]
    assert (plan.ratings, plan.design.trials, plan.prompts) == (2000, 50, 150)
    assert "the paper’s finds 29" in text_of(response)  # with 90 % power
    assert "Holm" not in text_of(response)
    assert "evaluators=40" in response.context["query"]


def test_correlations_and_shares_that_are_given_are_used(console: Client) -> None:
    alone = console.get(PAGE, {"evaluator_correlation": "0", "prompt_correlation": "0"}).context["found"]
    assert alone.detectable.value == pytest.approx(0.160, abs=5e-4)  # independent ratings
    many = console.get(PAGE, {"none_share": "60"}).context
    assert many["none_share"] == pytest.approx(0.6)
    assert many["found"].detectable.value < console.get(PAGE).context["found"].detectable.value  # less varies


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({"evaluators": "1"}, "evaluators", "greater than or equal to 2"),
        ({"evaluators": "999999999999"}, "evaluators", "less than or equal to 20000"),
        ({"evaluators": "many"}, "evaluators", "whole number"),
        ({"pairs_each": "200"}, "pairs_each", "200 pairs need as many prompts"),
        ({"pairs_each": "1"}, "pairs_each", "fewer than one of each of 2"),
        ({"prompts": "0"}, "prompts", "greater than or equal to 2"),
        ({"comparisons": "-3"}, "comparisons", "greater than or equal to 1"),
        ({"difference": "0"}, "difference", "greater than or equal to 1"),
        ({"difference": "nan"}, "difference", "Enter a number"),
        ({"power": "100"}, "power", "less than or equal to 99"),
        ({"none_share": "1e400"}, "none_share", "Enter a number"),
        ({"evaluator_correlation": "1"}, "evaluator_correlation", "less than or equal to 0.9"),
        ({"evaluator_correlation": "0.9", "prompt_correlation": "0.9"}, "evaluator_correlation", "lower a correlation"),
        ({"pilot": "77"}, "pilot", "Select a valid choice"),
    ],
)
def test_numbers_that_are_no_plan_are_refused_at_their_field(
    console: Client, given: dict[str, str], field: str, message: str
) -> None:
    response = console.get(PAGE, given)
    assert list(response.context["form"].errors) == [field]
    assert message in response.context["form"].errors[field][0]
    assert "These numbers are no plan yet" in text_of(response)
    assert f'aria-describedby="id_{field}' in response.content.decode()
    assert console.post(f"{PAGE}?" + "&".join(f"{k}={v}" for k, v in given.items())).status_code == 200
    assert console.get(f"{PAGE}power.svg", given).status_code == 404


def test_a_design_that_finds_nothing_says_why(console: Client) -> None:
    given: dict[str, Any] = {
        "evaluators": 2,
        "pairs_each": 2,
        "prompts": 2,
        "comparisons": 2,
        "prompt_correlation": "0.4",
    }
    page = text_of(console.get(PAGE, given))
    assert "finds no difference with 80 % power: even 98 points" in page
    assert "no number of evaluators is enough" in page


def test_htmx_gets_the_answers_alone(console: Client) -> None:
    response = console.get(PAGE, {"evaluators": 40}, headers={"HX-Request": "true"})
    assert '<form method="get"' not in response.content.decode()
    assert response.content.decode().lstrip().startswith('<section class="chapter" id="answers"')
    restored = console.get(PAGE, headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert "<html" in restored.content.decode()


def test_studies_are_simulated_on_request_alone(console: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "SIMULATED", 60)
    assert "simulated studies with" not in text_of(console.get(PAGE))
    response = console.post(f"{PAGE}?difference=30")
    found = response.context["simulated"]
    assert found.studies == 60
    assert found.found == pytest.approx(response.context["found"].chance, abs=0.2)
    assert "Of 60 simulated studies with a difference of 30 points" in text_of(response)


def test_a_simulation_has_a_limit_of_size_and_of_number(console: Client) -> None:
    large = "?evaluators=20000&pairs_each=100&comparisons=1"
    assert "too large to be simulated" in text_of(console.post(f"{PAGE}{large}"))
    with power._simulating:
        assert "Another simulation is running" in text_of(console.post(PAGE))


@pytest.mark.parametrize(
    ("kind", "beginning", "content_type"),
    [("svg", b"<?xml", "image/svg+xml"), ("png", b"\x89PNG", "image/png"), ("pdf", b"%PDF", "application/pdf")],
)
def test_the_figure_is_served_in_three_kinds(console: Client, kind: str, beginning: bytes, content_type: str) -> None:
    response = console.get(f"{PAGE}power.{kind}", {"evaluators": 40})
    assert response["Content-Type"] == content_type
    assert response["Cache-Control"] == "private, max-age=3600"
    assert response.content.startswith(beginning)
    dark = console.get(f"{PAGE}power.{kind}", {"evaluators": "40", "theme": "dark", "columns": "1"})
    assert dark.content != response.content
    assert console.get(f"{PAGE}power.gif").status_code == 404


def test_the_figure_marks_the_paper_s_design(console: Client) -> None:
    own = console.get(f"{PAGE}power.svg").content.decode()
    assert "the paper’s design: 255 ratings, 25 points" in own
    other = console.get(f"{PAGE}power.svg", {"evaluators": 40}).content.decode()
    assert "this design: 600 ratings, 17 points" in other
    assert "the paper’s design: 255 ratings, 25 points" in other


@pytest.fixture
def pilot(ada: User) -> Study:
    """Four people who prefer the candidate in four of six pairs, and the baseline in one."""
    study = make_ready_study(owner=ada, name="Pilot", per_stratum=8, trials_per_evaluator=24, quota=6)
    open_study(study)
    choices = itertools.cycle([1, 1, -1, 2, 0, 1])
    for i in range(4):
        rate_booklet(invite(study, f"Grace {i}"), lambda _: next(choices))
    return study


def test_a_pilot_study_says_what_ratings_are_like(console: Client, pilot: Study) -> None:
    response = console.get(PAGE, {"pilot": pilot.pk})
    found = response.context["pilot"]
    assert (found.ratings, found.evaluators, found.simulated) == (48, 4, False)  # of one of two comparisons
    assert sum(found.shares) == pytest.approx(1)
    assert response.context["shares"] == pytest.approx(found.shares)
    assert "as 48 ratings by 4 evaluators of the chosen study" in text_of(response)
    assumed = response.context["plan"].assumed
    assert 0 <= assumed.evaluator_correlation < 0.5
    assert not math.isnan(assumed.prompt_correlation)
    figure = console.get(f"{PAGE}power.svg", {"pilot": pilot.pk})
    assert figure["Cache-Control"] == "private, no-cache"


def test_a_pilot_of_somebody_else_or_of_few_ratings_is_no_pilot(client: Client, ada: User, pilot: Study) -> None:
    small = make_ready_study(owner=ada, name="Small", trials_per_evaluator=12)
    open_study(small)
    rate_booklet(invite(small, "Grace"), always(1))
    client.force_login(ada)
    errors = client.get(PAGE, {"pilot": small.pk}).context["form"].errors
    assert "“Small” has 6 ratings of its primary outcome; 20 are needed." in errors["pilot"][0]
    client.force_login(make_admin("grace"))
    response = client.get(PAGE, {"pilot": pilot.pk})
    assert "Select a valid choice" in response.context["form"].errors["pilot"][0]
    assert "Pilot" not in text_of(response).replace("console/power", "")


def test_the_page_asks_for_a_login_and_few_queries(
    client: Client, console: Client, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(4):
        console.get(PAGE)
    client.logout()
    assert client.get(PAGE).status_code == 302
    assert client.get(f"{PAGE}power.svg").status_code == 302


def test_a_draft_says_what_it_will_find(console: Client, ada: User) -> None:
    paper = make_draft(ada, name="As the paper", per_stratum=50, trials_per_evaluator=30, quota=17)
    page = text_of(console.get(reverse("console:study", args=[paper.pk])))
    assert "finds differences of <strong>25 points</strong> net with 80 % power; it is the paper’s" in page
    assert "/console/power/?evaluators=17&amp;pairs_each=30&amp;prompts=150&amp;comparisons=2" in page
    larger = make_draft(ada, name="Larger", per_stratum=50, trials_per_evaluator=30, quota=40)
    for address in ("study", "change_plan"):
        page = text_of(console.get(reverse(f"console:{address}", args=[larger.pk])))
        assert "finds differences of <strong>17 points</strong> net with 80 % power; the paper’s finds 25" in page
    assert "it is the paper’s" in text_of(console.get(reverse("console:new_study")))


def test_a_plan_without_a_test_says_so_and_a_running_study_says_nothing(console: Client, ada: User) -> None:
    lonely = make_draft(ada, name="Lonely", quota=1)
    page = text_of(console.get(reverse("console:study", args=[lonely.pk])))
    assert "no difference is found: one evaluator or one prompt alone gives no test" in page
    study = make_ready_study(owner=ada, name="Open")
    open_study(study)
    assert "80 % power" not in text_of(console.get(reverse("console:study", args=[study.pk])))


def test_a_plan_keeps_what_it_was_made_of() -> None:
    from evenhand.analysis.planning import paper_plan, plan_assumptions

    plan: Plan = paper_plan(plan_assumptions())
    assert plan.is_paper
    assert (plan.ratings, plan.design.ratings, plan.ratings_per_pair) == (510, 255, 1.7)
