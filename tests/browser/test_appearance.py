"""A run's announcement, the sixth option, forced colours and a larger default text."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import link_for
from evenhand.studies.criteria import PRESETS, Criterion
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Rating
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.browser_steps import ready
from tests.helpers.factories import make_ready_study

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

APPEAL = PRESETS["appeal"].question


def test_a_run_is_announced_on_a_page_of_its_own(page: Page, live_server: LiveServer) -> None:
    study = make_ready_study(criteria=(Criterion(), PRESETS["appeal"]), criteria_order="runs", quota=1)
    open_study(study)
    person = enrol(study)
    consent(person)
    page.goto(live_server.url + link_for(person))
    questions = set()
    for n in range(1, 13):
        if page.get_by_role("heading", name="The question for the next pairs").count():
            questions.add(page.locator(".asked-next").inner_text())
            page.get_by_role("button", name="Show the next pair").click()
        expect(page.locator(".progress-text")).to_contain_text(f"{n} of 12")
        ready(page)
        page.keyboard.press("3")
        if n < 12:
            expect(page.get_by_text(f"{n + 1} of 12").or_(page.locator(".asked-next"))).to_be_visible()
    assert questions == {Criterion().question, APPEAL}


def test_both_are_bad_has_a_key_of_its_own(page: Page, live_server: LiveServer) -> None:
    study = make_ready_study(both_bad_option="Both are bad")
    open_study(study)
    person = enrol(study)
    consent(person)
    page.goto(live_server.url + link_for(person))
    ready(page)
    page.keyboard.press("6")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    page.get_by_role("button", name="No preference").click()
    expect(page.get_by_text("3 of 12")).to_be_visible()
    assert list(Rating.objects.order_by("pk").values_list("choice", "both_bad")) == [(0, True), (0, False)]


def test_forced_colours_keep_surround_progress_and_the_pressed_option(
    browser: Browser, live_server: LiveServer, grace: Evaluator
) -> None:
    consent(grace)
    context = browser.new_context(forced_colors="active", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(live_server.url + link_for(grace))
    ready(page)
    colour = "(s) => getComputedStyle(document.querySelector(s)).backgroundColor"
    assert page.evaluate(colour, "html") == "rgb(122, 122, 122)"
    shut = page.evaluate(colour, ".option")
    page.evaluate("document.querySelector('.option').classList.add('pressed')")
    assert page.evaluate(colour, ".option") != shut
    assert page.evaluate("getComputedStyle(document.querySelector('progress')).borderTopWidth") == "1px"
    context.close()


def test_a_larger_default_text_breaks_nothing(browser: Browser, live_server: LiveServer, grace: Evaluator) -> None:
    consent(grace)
    context = browser.new_context(viewport={"width": 1024, "height": 768}, bypass_csp=True)  # for the style below
    page = context.new_page()
    page.goto(live_server.url + link_for(grace))
    ready(page)
    before = page.evaluate("getComputedStyle(document.querySelector('.option')).fontSize")
    page.add_style_tag(content=":root { font-size: 150% !important; }")
    page.set_viewport_size({"width": 1025, "height": 768})
    page.wait_for_timeout(200)
    assert page.evaluate("getComputedStyle(document.querySelector('.option')).fontSize") != before
    tight = "[...document.querySelectorAll('.option')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
    assert page.evaluate(tight) == 0
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    context.close()
