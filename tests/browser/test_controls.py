"""What stands around a pair: shortcuts, the dialog after practice, Confirm, skipping and reporting, announcements."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import link_for
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Rating, Skip
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.browser_steps import ready
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def somebody(**changes: Any) -> Evaluator:
    study = make_ready_study(owner=make_admin("ada"), **changes)
    open_study(study)
    person = enrol(study)
    consent(person)
    return person


def visit(page: Page, live_server: LiveServer, person: Evaluator) -> Page:
    page.goto(live_server.url + link_for(person))
    ready(page)
    return page


def choices() -> list[int | None]:
    return list(Rating.objects.order_by("pk").values_list("choice", flat=True))


def press(page: Page, key: str) -> None:
    page.keyboard.press(key, delay=90)


def hold(page: Page, key: str, ms: int = 1000) -> None:
    for _ in range(ms // 33):
        page.keyboard.down(key)
        page.wait_for_timeout(33)
    page.keyboard.up(key)


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))


def test_shortcuts_are_switched_off_and_stay_off(page: Page, live_server: LiveServer) -> None:
    visit(page, live_server, somebody(zoom=True))
    page.get_by_role("button", name="Shortcuts: on").click(delay=80)
    toggle = page.get_by_role("button", name="Shortcuts: off")
    expect(toggle).to_be_visible()
    for visit_again in (False, True):
        if visit_again:
            page.reload()
            expect(toggle).to_be_visible()
            ready(page)
        for key in ("1", "3", "z", "f"):
            press(page, key)
        page.wait_for_timeout(300)
        assert choices() == []
        expect(page.locator(".pictures")).not_to_have_class("zoomed")
        expect(page.locator("kbd:visible, [aria-keyshortcuts]")).to_have_count(0)
    option = page.get_by_role("button", name="Left is slightly better")
    option.focus()
    press(page, "Enter")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    page.get_by_role("button", name="Right is slightly better").focus()
    press(page, "Space")
    expect(page.get_by_text("3 of 12")).to_be_visible()
    ready(page)
    toggle.click(delay=80)
    press(page, "3")
    expect(page.get_by_text("4 of 12")).to_be_visible()
    assert choices() == [-1, 1, 0]


@pytest.mark.parametrize("key", ["Enter", "Escape"])
def test_feedback_is_a_dialog_that_keeps_the_focus(page: Page, live_server: LiveServer, key: str) -> None:
    visit(page, live_server, somebody(practice_trials=2, introduction=False))
    if page.get_by_role("button", name="Start practice").count():
        page.get_by_role("button", name="Start practice").click()
        ready(page)
    option = page.get_by_role("button", name="Left is much better")
    option.focus()
    hold(page, "Enter")  # which must not press the dialog's button as well
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    button = dialog.get_by_role("button")
    expect(button).to_be_focused()
    expect(button).to_have_text("Next practice pair")
    for _ in range(4):
        press(page, "Tab")
        assert page.evaluate(
            "document.activeElement === document.body || Boolean(document.activeElement.closest('dialog'))"
        )
    press(page, "3")
    button.focus()
    press(page, key)
    expect(dialog).to_be_hidden()
    ready(page)
    assert focused(page) == "prompt"
    assert len(choices()) == 1
    press(page, "3")
    expect(dialog).to_be_visible()
    expect(button).to_have_text("Show the first pair")
    button.click(delay=80)
    expect(page.get_by_text("1 of 12")).to_be_visible()


def test_skipping_and_reporting_need_no_page_load_and_are_told(page: Page, live_server: LiveServer) -> None:
    visit(page, live_server, somebody())
    loads: list[str] = []
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    announced = page.locator(".announce")
    text = page.locator("#prompt").inner_text()
    page.get_by_text("Skip or report").click()
    expect(page.get_by_text("You may skip as often as you need.")).to_be_visible()
    page.get_by_label("What is wrong with it? (optional)").fill("it shows a person")
    report = page.get_by_role("button", name="Report it")
    report.click(delay=80, click_count=2)
    expect(page.get_by_text("2 of 12")).to_be_visible()
    expect(page.locator(".status")).to_have_text("Reported. Thank you.")
    expect(announced).to_contain_text("Pair 2: ")
    assert page.locator("#prompt").inner_text() not in {text, ""}
    assert page.locator("#prompt").inner_text() in announced.inner_text()
    ready(page)
    expect(page.locator(".status")).to_have_text("Reported. Thank you.")
    page.get_by_text("Skip or report").click()
    page.get_by_role("button", name="Skip this pair").click(delay=80)
    expect(page.get_by_text("3 of 12")).to_be_visible()
    expect(page.locator(".status")).to_have_text("Skipped.")
    ready(page)
    assert focused(page) == "prompt"
    press(page, "4")
    expect(page.get_by_text("4 of 12")).to_be_visible()
    ready(page)
    expect(page.locator(".status")).to_be_empty()
    assert loads == []
    assert [(s.reason, s.note, s.trial.position) for s in Skip.objects.order_by("pk")] == [
        ("report", "it shows a person", 1), ("skip", "", 2),
    ]  # fmt: skip
    assert [r.trial.position for r in Rating.objects.all()] == [3]
    page.get_by_text("Correct the last answer").click()
    ready(page)
    expect(page.get_by_text("Skip or report")).to_have_count(0)  # it has an answer, which can be corrected


def test_an_answer_is_confirmed_by_its_button(browser: Browser, live_server: LiveServer) -> None:
    person = somebody(confirm_answers=True)
    page = visit(browser.new_context(viewport={"width": 1024, "height": 800}).new_page(), live_server, person)
    confirm = page.get_by_role("button", name="Confirm")
    expect(confirm).to_be_hidden()
    before = page.locator(".option").first.bounding_box()
    page.get_by_role("button", name="Left is slightly better").click(delay=80)
    expect(confirm).to_be_visible()
    assert page.locator(".option").first.bounding_box() == before  # nothing moves
    page.wait_for_timeout(450)
    confirm.click(delay=80)
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    expect(confirm).to_be_hidden()
    press(page, "5")
    page.wait_for_timeout(450)
    press(page, "Enter")
    expect(page.get_by_text("3 of 12")).to_be_visible()
    page.context.close()
    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = visit(phone.new_page(), live_server, person)
    page.get_by_role("button", name="B is slightly better").tap()
    page.wait_for_timeout(450)
    box = page.get_by_role("button", name="Confirm").bounding_box()
    assert box is not None
    assert box["height"] >= 44
    page.get_by_role("button", name="Confirm").tap()
    expect(page.get_by_text("4 of 12")).to_be_visible()
    assert choices() == [-1, 2, 1]
    phone.close()


@pytest.mark.parametrize("touch", [False, True])
def test_everything_that_is_pressed_is_large_enough(browser: Browser, live_server: LiveServer, touch: bool) -> None:
    """24 pixels, and 44 where a finger presses."""
    person = somebody(zoom=True, flip=True, confirm_answers=True, reasons=("Sharper", "Prettier"), ask_remark=True)
    window: ViewportSize = {"width": 390, "height": 844} if touch else {"width": 1024, "height": 800}
    context = browser.new_context(viewport=window, has_touch=touch, is_mobile=touch)
    page = visit(context.new_page(), live_server, person)
    page.get_by_text("Skip or report").click()
    least = 44 if touch else 24
    small = f"""[...document.querySelectorAll('a, button, summary, label, textarea, .skip-link')]
        .filter((e) => e.checkVisibility({{visibilityProperty: true}}) && !e.matches('.skip-link, label[for]'))
        .map((e) => [e.textContent.trim(), e.getBoundingClientRect().width, e.getBoundingClientRect().height])
        .filter(([, width, height]) => width < {least} || height < {least})"""
    assert page.evaluate(small) == []
    press(page, "Escape")
    page.get_by_role("button", name="much better").first.click(delay=80)
    page.wait_for_timeout(450)
    page.get_by_role("button", name="Confirm").click(delay=80)
    expect(page.get_by_text("Why? (optional)")).to_be_visible()
    assert page.evaluate(small) == []
    context.close()
