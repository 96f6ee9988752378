"""The evaluator's whole way in a real Chromium: by keyboard, on a phone, through a cut network, in two tabs, bare."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import enrolment_link, link_for
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Rating, Study, Trial
from evenhand.studies.procedure import ComprehensionQuestion
from evenhand.studies.rating import chain
from evenhand.studies.rating.enrolment import enrol
from tests.helpers.browser_steps import ready, until
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
QUESTION = ComprehensionQuestion("What do you compare?", ("Sounds", "Pictures"), 1)


@pytest.fixture
def whole() -> Study:
    """A study with everything that an evaluator can meet."""
    study = make_ready_study(
        owner=make_admin("ada"),
        introduction=True,
        practice_trials=1,
        comprehension=(QUESTION,),
        attention_checks=1,
        repeats=1,
        break_every=4,
        trials_per_evaluator=6,
        minimum_age=18,
        contact="ethics@example.org",
        approval="2026-17",
        debriefing="One picture of each pair was guided anew.",
        completion_code="C0FFEE",
        completion_url="https://panel.example.org/?cc={code}",
    )
    open_study(study)
    return study


def tab_to(page: Page, text: str) -> None:
    """Press Tab until the element with this text or label has the focus."""
    for _ in range(30):
        page.keyboard.press("Tab")
        focused = page.evaluate("(e => (e.labels?.[0] || e).innerText)(document.activeElement)")
        if text in focused:
            return
    raise AssertionError(f"{text!r} cannot be reached with the keyboard")


def press_on(page: Page, text: str, key: str = "Enter") -> None:
    tab_to(page, text)
    page.keyboard.press(key)


def test_the_whole_way_with_the_keyboard_alone(page: Page, live_server: LiveServer, whole: Study) -> None:
    page.goto(f"{live_server.url}{enrolment_link(whole)}?PROLIFIC_PID=5f2d&STUDY_ID=a&SESSION_ID=b")
    expect(page.get_by_role("heading", name="Comparing pictures")).to_be_visible()
    press_on(page, "Read about the study")
    expect(page.get_by_text("2026-17")).to_be_visible()
    press_on(page, "I have read this", "Space")
    press_on(page, "at least 18", "Space")
    press_on(page, "Begin")
    expect(page.get_by_role("heading", name="An example")).to_be_visible()
    press_on(page, "Start practice")
    ready(page)
    page.keyboard.press("5")
    expect(page.get_by_text("we expect").or_(page.get_by_text("Yes: the"))).to_be_visible()
    page.keyboard.press("Enter")  # the button has the focus
    expect(page.get_by_role("heading", name="Questions about the task")).to_be_visible()
    press_on(page, "Sounds", "ArrowDown")  # to the second option
    press_on(page, "Send my answers")
    for n in range(1, 9):
        if n == 5:
            expect(page.get_by_role("heading", name="Time for a break")).to_be_visible()
            page.keyboard.press("Enter")
        expect(page.get_by_text(f"{n} of 8")).to_be_visible()
        ready(page)
        page.keyboard.press("4")
    expect(page.get_by_text("C0FFEE")).to_be_visible()
    expect(page.get_by_text("guided anew")).to_be_visible()
    assert page.get_by_role("link", name="Finish on Prolific").get_attribute("href") == (
        "https://panel.example.org/?cc=C0FFEE"
    )
    ada = Evaluator.objects.get()
    assert ada.external_key == "5f2d"
    assert sorted(Rating.objects.values_list("trial__kind", flat=True)) == (
        ["attention"] + ["main"] * 6 + ["practice"] + ["repeat"]
    )
    assert list(chain.faults(whole)) == []


def test_the_whole_way_without_javascript(browser: Browser, live_server: LiveServer, whole: Study) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(live_server.url + enrolment_link(whole))
    page.get_by_role("button", name="Read about the study").click()
    page.get_by_label("I have read this").check()
    page.get_by_label("at least 18").check()
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("button", name="Start practice").click()
    page.get_by_role("button", name="Left is much better").click()
    page.get_by_role("link", name="Go to the questions").click()
    page.get_by_label("Pictures").check()
    page.get_by_role("button", name="Send my answers").click()
    for n in range(1, 9):
        if n == 5:
            page.get_by_role("button", name="Continue after the break").click()
        expect(page.get_by_text(f"{n} of 8")).to_be_visible()
        page.get_by_role("button", name="No preference").click()
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert Rating.objects.count() == 9
    context.close()


def test_on_a_phone_by_touch(browser: Browser, live_server: LiveServer, whole: Study) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(live_server.url + enrolment_link(whole))
    page.get_by_role("button", name="Read about the study").tap()
    page.get_by_label("I have read this").tap()
    page.get_by_label("at least 18").tap()
    page.get_by_role("button", name="Begin").tap()
    page.get_by_role("button", name="Start practice").tap()
    ready(page)
    page.get_by_role("button", name="A is much better").tap()
    page.locator("dialog button").tap()
    page.get_by_label("Pictures").tap()
    page.get_by_role("button", name="Send my answers").tap()
    ready(page)
    one, other = (page.locator(f"[data-side={side}]").bounding_box() for side in ("left", "right"))
    assert one == other  # in one place, by turns
    boxes = [option.bounding_box() for option in page.locator(".option").all()]
    assert all(box is not None and box["height"] >= 44 and box["y"] + box["height"] <= 844 for box in boxes)
    page.get_by_role("button", name="B is slightly better").tap()
    expect(page.get_by_text("2 of 8")).to_be_visible()
    assert Rating.objects.filter(trial__kind="practice").count() == 1
    assert Rating.objects.get(trial__position=2).choice == 1
    context.close()


def start(context: BrowserContext, live_server: LiveServer, evaluator: Evaluator) -> Page:
    page = context.new_page()
    page.goto(live_server.url + link_for(evaluator))
    if page.get_by_label("I have read this").count():
        page.get_by_label("I have read this").check()
        page.get_by_role("button", name="Begin").click()
    ready(page)
    return page


def test_half_a_minute_without_a_network_loses_nothing(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    page = start(page.context, live_server, grace)
    page.keyboard.press("1")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    page.context.set_offline(True)
    page.keyboard.press("4")
    for _ in range(6):  # impatient: more presses change nothing while the first one is kept
        time.sleep(5)
        page.keyboard.press("1")
        expect(page.get_by_text("Your answer is kept here and will be sent")).to_be_visible()
    assert Rating.objects.count() == 1
    page.context.set_offline(False)
    expect(page.get_by_text("3 of 12")).to_be_visible(timeout=15_000)
    assert list(Rating.objects.order_by("sequence").values_list("choice", flat=True)) == [-2, 1]


def test_two_tabs_store_one_answer_a_trial(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    first = start(page.context, live_server, grace)
    second = start(page.context, live_server, grace)
    first.keyboard.press("1")
    expect(first.get_by_text("2 of 12")).to_be_visible()
    second.keyboard.press("5")  # the same trial, on a page that is stale now
    second.get_by_role("dialog").get_by_role("button").click()
    expect(second.get_by_text("2 of 12")).to_be_visible()
    ready(second)
    second.keyboard.press("5")
    expect(second.get_by_text("3 of 12")).to_be_visible()
    assert list(Rating.objects.order_by("sequence").values_list("choice", flat=True)) == [-2, 2]
    other_browser = page.context.browser
    assert other_browser is not None
    elsewhere = start(other_browser.new_context(), live_server, grace)
    expect(elsewhere.get_by_text("3 of 12")).to_be_visible()
    elsewhere.context.close()


def test_a_double_click_is_one_answer(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    page = start(page.context, live_server, grace)
    page.get_by_role("button", name="Left is much better").dblclick()
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    assert Rating.objects.count() == 1


def test_a_confirmed_answer_takes_two_presses(page: Page, live_server: LiveServer) -> None:
    study = make_ready_study(confirm_answers=True)
    open_study(study)
    page = start(page.context, live_server, enrol(study))
    page.keyboard.press("2")
    expect(page.get_by_text("Confirm this answer")).to_be_visible()
    assert Rating.objects.count() == 0
    page.keyboard.press("4")
    expect(page.get_by_role("button", name="Right is slightly better")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Left is slightly better")).to_have_attribute("aria-pressed", "false")
    page.wait_for_timeout(450)  # a second press that comes sooner may be half of a double click
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    option = page.get_by_role("button", name="No preference")
    option.click()
    page.wait_for_timeout(450)
    option.click()
    expect(page.get_by_text("3 of 12")).to_be_visible()
    assert list(Rating.objects.order_by("sequence").values_list("choice", flat=True)) == [1, 0]


def test_the_next_pictures_are_fetched_beforehand_one_at_a_time(
    page: Page, live_server: LiveServer, grace: Evaluator
) -> None:
    under_way, most, asked = 0, 0, []

    def began(request: object) -> None:
        nonlocal under_way, most
        if "/t/" in request.url:  # type: ignore[attr-defined]
            asked.append(request.url)  # type: ignore[attr-defined]
            if len(asked) > 2:
                under_way += 1
                most = max(most, under_way)

    def ended(request: object) -> None:
        nonlocal under_way
        if request.url in asked[2:]:  # type: ignore[attr-defined]
            under_way -= 1

    page.on("request", began)
    page.on("requestfinished", ended)
    page.goto(live_server.url + link_for(grace))
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Begin").click()
    ready(page)
    until(page, "performance.getEntriesByType('resource').filter((e) => e.name.includes('/t/')).length === 6")
    assert most == 1
    ids = [str(pk) for pk in Trial.objects.filter(booklet__evaluator=grace).order_by("position")[:3].values_list(
        "public_id", flat=True)]  # fmt: skip
    assert [url.split("/t/")[1].split("/")[0] for url in asked[2:]] == [ids[1], ids[1], ids[2], ids[2]]


def test_options_stay_shut_until_the_page_is_seen(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    page.add_init_script(
        "Object.defineProperty(document, 'visibilityState', {get: () => window.seen ? 'visible' : 'hidden'})"
    )
    page.goto(live_server.url + link_for(grace))
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Begin").click()
    until(page, "[...document.images].every((image) => image.complete && image.naturalWidth)")
    time.sleep(0.5)
    expect(page.locator("main.trial")).to_have_attribute("data-state", "waiting")
    page.keyboard.press("3")
    assert Rating.objects.count() == 0
    page.evaluate("window.seen = true; document.dispatchEvent(new Event('visibilitychange'))")
    ready(page)
    time.sleep(0.3)
    page.keyboard.press("3")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    elapsed = Rating.objects.get().elapsed_ms
    assert elapsed is not None
    assert 200 <= elapsed < 5000  # from when it could be seen, not from when it was loaded
