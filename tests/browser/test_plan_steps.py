"""A study planned step by step in a browser: from an installation with a prompt set alone to its first link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.console.plan_steps import STEPS
from evenhand.studies.models import RecipeCheck, SemanticMap, Study
from evenhand.studies.pipeline import recipe_checks, semantic_maps, stages
from evenhand.studies.work.queue import work_through
from tests.helpers.browser_steps import log_in, refused_contents, until
from tests.helpers.factories import make_draft, make_prompt_set

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SHOTS = os.environ.get("EVENHAND_SHOTS")  # a folder for pictures of the pages, to be looked at


@pytest.fixture
def ada() -> User:
    return User.objects.create_superuser("ada", password="a long password")


def go_on(page: Page, heading: str) -> None:
    page.get_by_role("button", name="Save and go on").click()
    expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()


def test_a_study_is_planned_prepared_and_opened(page: Page, live_server: LiveServer, ada: User) -> None:
    make_prompt_set(60)
    log_in(page, live_server)
    page.get_by_role("link", name="New study").click()
    page.get_by_label("Name", exact=True).fill("Corgis")
    go_on(page, "Sampling")
    expect(page.get_by_text("need a first subset of at least")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="Sampling")).to_contain_text("to mend")
    page.get_by_label("First subset, prompts").fill("24")
    page.get_by_label("Prompts per stratum").fill("4")
    go_on(page, "Recipe")
    expect(page.get_by_role("listitem").filter(has_text="Sampling")).not_to_contain_text("to mend")
    expect(page.get_by_role("listitem").filter(has_text="People")).to_contain_text("to mend")  # 30 pairs of 24
    page.get_by_label("Iterations T").fill("4")
    go_on(page, "Arms")
    page.get_by_label("Candidates: scales a").fill("5, ten")
    page.get_by_role("button", name="Save and go on").click()
    expect(page.get_by_text("Give numbers, separated by commas.")).to_be_visible()
    page.get_by_label("Candidates: scales a").fill("5, 10")
    go_on(page, "Comparisons")
    go_on(page, "Criteria and wording")
    go_on(page, "People")
    page.get_by_label("Pairs per evaluator").fill("6")
    page.get_by_label("Evaluators wanted").fill("8")
    go_on(page, "Checks")
    expect(page.get_by_text("to mend")).to_have_count(0)
    for heading in ("Consent and pay", "Ends", "Analysis", "Review"):
        go_on(page, heading)
    expect(page.get_by_text("2 ratings of each pair")).to_be_visible()
    expect(page.get_by_text("Waiting for a worker to try it.")).to_be_visible()
    work_through({RecipeCheck: recipe_checks.HANDLER})
    expect(page.get_by_text("A worker read demo")).to_be_visible()  # fetched without a reload
    page.get_by_label("If an hour pays").fill("12")
    page.get_by_role("button", name="Estimate").click()
    expect(page.get_by_text("for 8 people, without a panel’s fees")).to_be_visible()
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / "plan-review-tried.png", full_page=True)
    page.get_by_role("button", name="Prepare").click()
    expect(page.get_by_role("heading", name="Corgis", level=1)).to_be_visible()
    stages.work_through()  # the page hears of it and loads itself again
    page.get_by_role("button", name="Open").click()
    page.get_by_label("New links").fill("2")
    page.get_by_role("button", name="Make invitation links").click()
    expect(page.get_by_text("2 invited, 0 begun")).to_be_visible()
    study = Study.objects.get(name="Corgis")
    assert (study.state, study.evaluators.count()) == (Study.State.COLLECTING, 2)
    show_maps(page, live_server, study)


def show_maps(page: Page, live_server: LiveServer, study: Study) -> None:
    """Let a worker make the maps of a pair whose pictures were really drawn."""
    pair = study.comparisons.get(position=1).pairs.all()[0]
    page.goto(f"{live_server.url}/console/studies/{study.pk}/pairs/{pair.pk}/")
    page.get_by_role("button", name="Let a worker make the maps").click()
    expect(page.get_by_text("Waiting for a worker.")).to_be_visible()
    expect(page.get_by_text("The guidance of this picture chooses no words by place.")).to_be_visible()  # the baseline
    work_through({SemanticMap: semantic_maps.HANDLER})
    drawn = page.get_by_alt_text("Semantic map of the right picture")
    expect(drawn).to_be_visible()
    drawn.scroll_into_view_if_needed()
    until(page, "document.querySelector('#semantic-maps img').naturalWidth > 100")
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / "pair-maps.png", full_page=True)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_step_is_wider_than_the_window(
    browser: Browser, live_server: LiveServer, ada: User, width: int, theme: str
) -> None:
    study = make_draft(owner=ada, quota=1)
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    refused = refused_contents(page)
    log_in(page, live_server)
    for step in (*STEPS, "review"):
        page.goto(f"{live_server.url}/console/studies/{study.pk}/plan/{step}/")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, step
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / f"plan-{step}-{width}-{theme}.png", full_page=True)
    assert refused == []
    context.close()
