"""In a real Chromium: rating by keyboard, without JavaScript, after a lost connection; the console's way."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.models import Evaluator, Rating, Study
from tests.helpers.browser_steps import begin, ready

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_pairs_are_rated_with_the_keyboard(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    begin(page, live_server, grace)
    for n, key in enumerate("12345543211", 2):
        ready(page)
        page.keyboard.press(key)
        expect(page.get_by_text(f"{n} of 12")).to_be_visible()
    ready(page)
    page.keyboard.press("5")
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    ratings = Rating.objects.filter(evaluator=grace).order_by("trial__position")
    assert [rating.choice for rating in ratings] == [-2, -1, 0, 1, 2, 2, 1, 0, -1, -2, -2, 2]
    assert all(rating.elapsed_ms is not None and rating.viewport["viewport_width"] == 1440 for rating in ratings)
    assert problems == []


def test_options_wait_for_both_pictures(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    begin(page, live_server, grace)
    page.route("**/right", lambda route: route.abort())
    page.reload()
    expect(page.locator("main.trial")).to_have_attribute("data-state", "waiting")
    page.keyboard.press("1")
    assert page.locator(".option[aria-disabled=true]").count() == 5
    assert Rating.objects.count() == 0
    page.unroute("**/right")
    ready(page, 10_000)
    page.keyboard.press("1")
    expect(page.get_by_text("2 of 12")).to_be_visible()


def test_an_answer_survives_a_lost_connection_and_a_reload(
    page: Page, live_server: LiveServer, grace: Evaluator
) -> None:
    begin(page, live_server, grace)
    ready(page)
    page.route("**/rate/", lambda route: route.abort())
    page.keyboard.press("4")
    kept = page.get_by_text("Your answer is kept here and will be sent")
    expect(kept).to_be_visible()
    page.reload()
    expect(kept).to_be_visible()
    assert Rating.objects.count() == 0
    page.unroute("**/rate/")
    expect(page.get_by_text("2 of 12")).to_be_visible(timeout=15_000)
    assert [rating.choice for rating in Rating.objects.all()] == [1]


@pytest.mark.parametrize("lasts", [True, False])
def test_a_refusal_that_is_no_json_is_told_and_sent_once_a_visit(
    page: Page, live_server: LiveServer, grace: Evaluator, lasts: bool
) -> None:
    """A proxy between page and server refuses in its own words: that is no lost connection."""
    begin(page, live_server, grace)
    ready(page)
    requests: list[str] = []

    def refuse(route: Route) -> None:
        requests.append(route.request.url)
        route.fulfill(status=413, content_type="text/html", body="<h1>413 Request Entity Too Large</h1>")

    page.route("**/rate/", refuse)
    page.keyboard.press("4")
    expect(page.get_by_text("The answer was not stored. Reload the page to go on.")).to_be_visible()
    page.wait_for_timeout(1500)  # longer than the first two pauses before a repetition
    assert len(requests) == 1
    if lasts:  # refused once more, the answer is dropped
        page.reload()
        ready(page)
        assert len(requests) == 2
        page.unroute("**/rate/")
        page.keyboard.press("2")
    else:
        page.unroute("**/rate/")
        page.reload()
    expect(page.get_by_text("2 of 12")).to_be_visible()
    assert [rating.choice for rating in Rating.objects.all()] == [-1 if lasts else 1]


@pytest.mark.parametrize("status", [200, 429, 502])
def test_what_is_no_answer_of_the_server_is_repeated(
    page: Page, live_server: LiveServer, grace: Evaluator, status: int
) -> None:
    """A login page of the network (200), a proxy that is busy (429), or one without a server behind it (502)."""
    begin(page, live_server, grace)
    ready(page)
    refusals = [1, 1]

    def answer(route: Route) -> None:
        if refusals:
            refusals.pop()
            route.fulfill(status=status, content_type="text/html", body="<h1>Welcome</h1>")
        else:
            route.continue_()

    page.route("**/rate/", answer)
    page.keyboard.press("4")
    expect(page.get_by_text("2 of 12")).to_be_visible(timeout=10_000)
    assert refusals == []
    assert [rating.choice for rating in Rating.objects.all()] == [1]


def test_it_works_without_javascript(browser: Browser, live_server: LiveServer, grace: Evaluator) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    begin(page, live_server, grace)
    page.get_by_role("button", name="Right is much better").click()
    expect(page.get_by_text("2 of 12")).to_be_visible()
    assert [rating.choice for rating in Rating.objects.all()] == [2]
    context.close()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 700), (390, 844)])
def test_the_whole_trial_fits_its_window(
    browser: Browser, live_server: LiveServer, grace: Evaluator, width: int, height: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    begin(page, live_server, grace)
    ready(page)
    size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert size[0] <= width
    if width > 390:
        assert size[1] <= height
    widths = page.evaluate("[...document.querySelectorAll('.pictures img')].map((image) => image.clientWidth)")
    assert widths[0] == widths[1]
    assert widths[0] % 64 == 0  # crisp: whole multiples of the pictures' own size
    page.keyboard.press("2")
    expect(page.get_by_text("2 of 12")).to_be_visible()  # now there is an answer to correct, and the foot is fuller
    page.get_by_text("Skip or report").click()
    asked = page.locator(".skip form").bounding_box()
    assert asked is not None
    assert asked["x"] >= 0
    assert asked["x"] + asked["width"] <= width
    assert asked["y"] >= 0
    context.close()


def test_an_admin_logs_in_plans_invites_and_closes(page: Page, live_server: LiveServer, study: Study) -> None:
    page.goto(f"{live_server.url}/console/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="New study").click()
    page.get_by_role("link", name="All fields on one page").click()
    page.get_by_label("Name", exact=True).fill("Corgis")
    page.get_by_label("First subset, prompts").fill("24")
    page.get_by_label("Prompts per stratum").fill("4")
    page.get_by_label("Candidates: scales a").fill("5, ten")
    page.get_by_role("button", name="Save the plan").click()
    expect(page.get_by_text("Give numbers, separated by commas.")).to_be_visible()
    page.get_by_label("Candidates: scales a").fill("5, 10")
    page.get_by_role("button", name="Save the plan").click()
    expect(page.get_by_role("heading", name="Corgis")).to_be_visible()
    page.get_by_role("link", name="Studies", exact=True).click()
    page.get_by_role("link", name="Shapes", exact=True).click()
    page.get_by_label("New links").fill("2")
    page.get_by_role("button", name="Make invitation links").click()
    expect(page.get_by_text("2 invited, 0 begun")).to_be_visible()
    page.get_by_role("heading", name="Close").click()  # which is folded
    page.get_by_label("to confirm").fill("Shapes")
    page.get_by_role("button", name="Close the study").click()
    expect(page.get_by_text("Closed", exact=True)).to_be_visible()
    study.refresh_from_db()
    assert study.state == Study.State.CLOSED
