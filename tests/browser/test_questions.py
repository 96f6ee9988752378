"""Several questions about a pair, a sixth option, and what is asked after an answer."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import link_for
from evenhand.studies.criteria import PRESETS
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Rating
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.browser_steps import ready, until
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
BOTH = (PRESETS["overall"], PRESETS["appeal"])
WHY: dict[str, Any] = {"reasons": ("Sharper", "Fits the text"), "ask_remark": True}


def visit(page: Page, live_server: LiveServer, **changes: Any) -> Evaluator:
    study = make_ready_study(owner=make_admin("ada"), **changes)
    open_study(study)
    person = enrol(study)
    consent(person)
    page.goto(live_server.url + link_for(person))
    ready(page)
    return person


def press(page: Page, key: str) -> None:
    page.keyboard.press(key, delay=90)


def test_the_second_question_changes_the_words_and_keeps_the_pictures(page: Page, live_server: LiveServer) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/t/" in request.url else None)
    visit(page, live_server, criteria=BOTH, both_bad_option="Both are bad")
    where = (
        "[...document.querySelectorAll('.frame, .option, #prompt, .question')]"
        ".map((e) => JSON.stringify(e.getBoundingClientRect()))"
    )
    shown = "[...document.images].map((image) => image.currentSrc)"
    before, pictures = page.evaluate(where), page.evaluate(shown)
    text = page.locator("#prompt").inner_text()
    until(page, "performance.getEntriesByType('resource').filter((e) => e.name.includes('/t/')).length >= 6")
    requests = len(asked)
    page.evaluate("""() => {
        window.seen = [];
        const question = document.querySelector('.question');
        question.addEventListener('animationstart', () => window.seen.push(question.textContent));
        const images = [...document.querySelectorAll('.frame img')];
        const watch = () => {
            const dark = images.some((image) => Number(getComputedStyle(image).opacity) < 1);
            if (dark && document.querySelector('.progress-text').textContent.startsWith('1 of')) window.blinked = true;
            requestAnimationFrame(watch);
        };
        watch();
    }""")
    press(page, "2")
    question = page.locator(".question")
    expect(question).to_have_text("Which picture looks better?")
    expect(page.locator(".announce")).to_have_text("Question 2 of 2: Which picture looks better?")
    expect(page.locator("#prompt")).to_have_text("No text here: judge the pictures alone.")
    expect(page.get_by_text("1 of 12")).to_be_visible()
    assert page.locator(".option").all_inner_texts()[0].endswith("Left looks much better")
    press(page, "5")  # the options are shut again
    ready(page)
    assert Rating.objects.count() == 1
    assert page.evaluate(where) == before
    assert page.evaluate(shown) == pictures
    assert len(asked) == requests
    press(page, "6")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    assert page.evaluate("window.blinked") is None
    ready(page)
    expect(question).to_have_text("Overall, which picture would you rather get for this text?")
    assert page.locator("#prompt").inner_text() not in {text, ""}
    press(page, "1")
    expect(question).to_have_text("Which picture looks better?")
    ready(page)
    assert page.evaluate("window.seen").count("Which picture looks better?") == 2
    page.emulate_media(reduced_motion="reduce")
    press(page, "3")
    expect(page.get_by_text("3 of 12")).to_be_visible()
    ready(page)
    assert len(page.evaluate("window.seen")) == 3
    stored = Rating.objects.order_by("pk").values_list("choice", "both_bad", "trial__criterion")
    assert list(stored) == [(-1, False, 0), (0, True, 1), (-2, False, 0), (0, False, 1)]


def test_reasons_are_asked_after_the_answer_and_are_no_part_of_its_time(page: Page, live_server: LiveServer) -> None:
    visit(page, live_server, **WHY)
    page.wait_for_timeout(300)
    for _ in range(20):  # a digit held down must not be written into the line
        page.keyboard.down("4")
        page.wait_for_timeout(33)
    page.keyboard.up("4")
    panel = page.locator(".why")
    expect(panel).to_be_visible()
    expect(page.get_by_label("Sharper")).to_be_focused()
    page.wait_for_timeout(1500)
    panel.get_by_text("Fits the text").click(delay=80)
    line = page.get_by_label("In your own words")
    expect(line).to_have_value("")
    line.press_sequentially("the 2 dots, 3", delay=60)
    assert Rating.objects.count() == 0
    press(page, "Enter")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    rating = Rating.objects.get()
    assert (rating.choice, rating.reasons, rating.remark) == (1, ["Fits the text"], "the 2 dots, 3")
    assert rating.elapsed_ms is not None
    assert rating.elapsed_ms < 1700
    expect(panel).to_be_hidden()
    press(page, "2")
    expect(page.get_by_label("Fits the text")).not_to_be_checked()
    expect(line).to_have_value("")
    panel.get_by_role("button").click(delay=80)
    expect(page.get_by_text("3 of 12")).to_be_visible()
    assert Rating.objects.order_by("pk").last().reasons == []  # type: ignore[union-attr]
    ready(page)
    press(page, "5")
    expect(panel).to_be_visible()
    page.reload()  # the answer was given, if not its reasons
    expect(page.get_by_text("4 of 12")).to_be_visible()
    ready(page)
    assert Rating.objects.count() == 3
    page.get_by_text("Correct the last answer").click()
    ready(page)
    expect(page.locator(".option.given")).to_have_accessible_name("Right is much better (your answer)")


def test_a_correction_shows_what_was_given(page: Page, live_server: LiveServer) -> None:
    visit(page, live_server, **WHY)
    press(page, "4")
    page.locator(".why").get_by_text("Sharper").click()
    page.get_by_label("In your own words").fill("crisp")
    press(page, "Enter")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    page.get_by_text("Correct the last answer").click()
    ready(page)
    press(page, "3")
    expect(page.get_by_label("Sharper")).to_be_checked()
    expect(page.get_by_label("In your own words")).to_have_value("crisp")
    page.locator(".why").get_by_text("Sharper").click()
    page.get_by_label("In your own words").fill("on second thoughts")
    page.locator(".why").get_by_role("button").click(delay=80)
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    stored = list(Rating.objects.order_by("pk").values_list("choice", "reasons", "remark", "superseded"))
    assert stored == [(1, ["Sharper"], "crisp", True), (0, [], "on second thoughts", False)]


def test_questions_and_reasons_without_javascript(browser: Browser, live_server: LiveServer) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    study = make_ready_study(owner=make_admin("ada"), criteria=BOTH, both_bad_option="Both are bad", **WHY)
    open_study(study)
    person = enrol(study)
    consent(person)
    page.goto(live_server.url + link_for(person))
    question, why, options = (
        page.locator(name).bounding_box() for name in (".question", ".why", ".scale-row")
    )  # fmt: skip
    assert question is not None
    assert why is not None
    assert options is not None
    assert question["y"] < why["y"] < options["y"]
    page.get_by_label("Sharper").check()
    page.get_by_label("In your own words").fill("crisp")
    page.get_by_label("In your own words").press("Enter")
    page.get_by_label("Sharper").press("Enter")
    page.wait_for_timeout(300)
    assert Rating.objects.count() == 0
    page.get_by_role("button", name="Right is much better").click()
    expect(page.get_by_text("1 of 12")).to_be_visible()
    expect(page.get_by_role("heading", name="No text here: judge the pictures alone.")).to_be_visible()
    expect(page.get_by_label("Sharper")).not_to_be_checked()
    page.get_by_role("button", name="Both are bad").click()
    expect(page.get_by_text("2 of 12")).to_be_visible()
    stored = list(Rating.objects.order_by("pk").values_list("choice", "both_bad", "reasons", "remark"))
    assert stored == [(2, False, ["Sharper"], "crisp"), (0, True, [], "")]
    context.close()
