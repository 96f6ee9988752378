"""One press, one answer: presses as fingers make them, in a real Chromium."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Page, Route, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import link_for
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Rating, Skip, Study
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.browser_steps import begin, ready, until
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

BETTER = re.compile("(Right|B) is much better")


def choices() -> list[int | None]:
    return list(Rating.objects.order_by("pk").values_list("choice", flat=True))


def option(page: Page, name: str | re.Pattern[str] = BETTER) -> tuple[float, float]:
    """The middle of an option, to be pressed by a bare mouse, which waits for nothing."""
    box = page.get_by_role("button", name=name).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.parametrize("pause", [60, 100, 150, 250])
def test_a_double_click_is_one_answer(page: Page, live_server: LiveServer, grace: Evaluator, pause: int) -> None:
    begin(page, live_server, grace)
    ready(page)
    place = option(page)
    page.mouse.click(*place)
    page.wait_for_timeout(pause)
    page.mouse.click(*place)
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    page.wait_for_timeout(300)
    assert choices() == [2]
    page.mouse.click(*place)
    expect(page.get_by_text("3 of 12")).to_be_visible()
    assert choices() == [2, 2]


@pytest.mark.parametrize("key", ["Enter", " ", "5"])
def test_a_key_that_is_held_down_is_one_answer(page: Page, live_server: LiveServer, grace: Evaluator, key: str) -> None:
    begin(page, live_server, grace)
    ready(page)
    if key != "5":
        page.get_by_role("button", name=BETTER).focus()
    for _ in range(40):  # 1.3 s of a keyboard's repetitions
        page.keyboard.down(key)
        page.wait_for_timeout(33)
    page.keyboard.up(key)
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    page.wait_for_timeout(300)
    assert choices() == [2]


def test_fast_digits_are_one_answer(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    begin(page, live_server, grace)
    ready(page)
    begun = time.monotonic()
    for key in "412345123451":
        if time.monotonic() - begun > 0.7:  # a busy machine presses more slowly than fingers
            break
        page.keyboard.press(key)
        page.wait_for_timeout(58)
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    assert choices() == [1]


def test_two_quick_taps_are_one_answer(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    assert page.context.browser is not None
    phone = page.context.browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    tab = phone.new_page()
    begin(tab, live_server, grace)
    ready(tab)
    tab.get_by_role("button", name=BETTER).scroll_into_view_if_needed()
    place = option(tab)
    tab.touchscreen.tap(*place)
    tab.wait_for_timeout(180)
    tab.touchscreen.tap(*place)
    expect(tab.get_by_text("2 of 12")).to_be_visible()
    ready(tab)
    tab.wait_for_timeout(200)
    assert choices() == [2]
    phone.close()


def test_a_press_that_begins_before_the_options_open_is_none(
    page: Page, live_server: LiveServer, grace: Evaluator
) -> None:
    """A finger that comes down on the shut option and is lifted from the open one."""
    begin(page, live_server, grace)
    expect(page.locator("main.trial")).to_have_attribute("data-state", "looking")
    page.mouse.move(*option(page))
    page.mouse.down()
    ready(page)
    page.mouse.up()
    page.wait_for_timeout(300)
    assert choices() == []


def test_a_click_without_a_pointer_or_a_key_is_an_answer(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    """Screen readers press so."""
    begin(page, live_server, grace)
    ready(page)
    page.wait_for_timeout(200)
    page.evaluate("document.querySelectorAll('.option')[3].click()")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    assert choices() == [1]


def test_the_focus_leaves_the_pressed_option(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    begin(page, live_server, grace)
    ready(page)
    page.get_by_role("button", name=BETTER).press("Enter")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "prompt"


def test_no_press_is_taken_before_the_pictures_are_there(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    """On a slow line the options are there seconds before the script, and the script before the pictures."""
    held: dict[str, Route] = {}
    consent(grace)
    page.route("**/trial.js", lambda route: held.update(script=route))
    page.route("**/left", lambda route: held.update(picture=route))
    page.goto(live_server.url + link_for(grace), wait_until="commit")
    page.get_by_role("button", name=BETTER).wait_for()
    for late in ("script", "picture"):
        for _ in range(3):
            page.mouse.click(*option(page))
            page.keyboard.press("5")
            page.get_by_role("button", name=BETTER).press("Enter")
            page.wait_for_timeout(150)
        held[late].continue_()
        if late == "script":
            expect(page.locator("main.trial")).to_have_attribute("data-state", "waiting")
    ready(page, 10_000)
    assert choices() == []
    page.keyboard.press("1")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    rating = Rating.objects.get()
    assert rating.elapsed_ms is not None
    assert 300 <= rating.elapsed_ms < 5000


def test_the_form_works_where_the_script_cannot_be_loaded(
    page: Page, live_server: LiveServer, grace: Evaluator
) -> None:
    consent(grace)
    page.route("**/trial.js", lambda route: route.abort())
    page.goto(live_server.url + link_for(grace))
    page.get_by_role("button", name=BETTER).click()
    expect(page.get_by_text("2 of 12")).to_be_visible()
    assert Rating.objects.get().elapsed_ms is None


def test_an_open_skip_panel_takes_no_digits_and_its_note_stays_with_its_pair(
    page: Page, live_server: LiveServer, grace: Evaluator
) -> None:
    begin(page, live_server, grace)
    ready(page)
    page.get_by_text("Skip or report").click()
    note = page.get_by_label("What is wrong with it?")
    note.fill("the first pair is cut off")
    page.get_by_text("Report one that should not be shown").click()  # the note loses the focus
    page.keyboard.press("3")
    page.wait_for_timeout(300)
    assert choices() == []
    page.keyboard.press("Escape")
    expect(note).to_be_hidden()
    assert page.evaluate("document.activeElement.innerText") == "Skip or report"
    page.keyboard.press("3")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    page.get_by_text("Skip or report").click()
    expect(note).to_have_value("")
    page.get_by_role("button", name="Report it").click()
    expect(page.get_by_text("3 of 12")).to_be_visible()
    skip = Skip.objects.get()
    assert (skip.note, skip.trial.position) == ("", 2)


def test_time_in_another_tab_is_not_the_answers(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    begin(page, live_server, grace)
    ready(page)
    look_away = (
        "state => { Object.defineProperty(document, 'visibilityState', {value: state, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    page.evaluate(look_away, "hidden")
    page.wait_for_timeout(2000)
    page.evaluate(look_away, "visible")
    page.keyboard.press("4")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    rating = Rating.objects.get()
    assert rating.elapsed_ms is not None
    assert rating.elapsed_ms < 1900
    assert 1900 < rating.viewport["hidden_ms"] < 3000


@pytest.fixture
def careful() -> Study:
    study = make_ready_study(owner=make_admin("ada"), confirm_answers=True)
    open_study(study)
    return study


def test_a_double_click_and_a_held_key_confirm_nothing(page: Page, live_server: LiveServer, careful: Study) -> None:
    begin(page, live_server, enrol(careful))
    ready(page)
    place = option(page)
    page.mouse.click(*place)
    page.wait_for_timeout(150)
    page.mouse.click(*place)
    for _ in range(30):
        page.keyboard.down("Enter")
        page.wait_for_timeout(33)
    page.keyboard.up("Enter")
    expect(page.get_by_text("Confirm this answer")).to_be_visible()
    assert choices() == []
    page.wait_for_timeout(150)
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    assert choices() == [2]


def test_people_see_that_the_pair_has_changed(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    """Pressed for 150 ms at least, then a look at the plain surround; a cut where motion is unwelcome."""
    watch = """() => {
        window.seen = [];
        const main = document.querySelector('main.trial');
        const note = () => window.seen.push([performance.now(), main.classList.contains('gap'), main.dataset.state]);
        new MutationObserver(note).observe(main, {attributes: true});
    }"""
    begin(page, live_server, grace)
    for motion, gap in (("no-preference", True), ("reduce", False)):
        page.emulate_media(reduced_motion=motion)  # type: ignore[arg-type]
        ready(page)
        page.evaluate(watch)
        page.keyboard.press("2")
        until(page, "window.seen.some(([, , state]) => state === 'waiting')")
        ready(page)
        seen = page.evaluate("window.seen")
        pressed = next(at for at, _, state in seen if state == "pressed")
        following = next(at for at, _, state in seen if state == "waiting")
        assert following - pressed >= 149 + (200 if gap else 0)
        assert any(plain for _, plain, _ in seen) == gap
