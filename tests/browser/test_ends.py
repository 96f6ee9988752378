"""Ends and ways in, in a real browser: copying a code, a window that is too small, going back by itself."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import enrolment_link, link_for
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Study, Trial
from evenhand.studies.panels import EndReturn
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.browser_steps import ready
from tests.helpers.factories import make_ready_study

pytestmark = pytest.mark.django_db(transaction=True)


def paid_study(**changes: Any) -> Study:
    settings: dict[str, Any] = {
        "trials_per_evaluator": 1,
        "completion_code": "C0FFEE",
        "completion_url": "https://panel.example.org/done?cc={code}",
        "end_returns": (EndReturn("too_small", "SMALL1"),),
        "contact": "study@example.org",
        "quota": 24,
    }
    study = make_ready_study(**(settings | changes))
    open_study(study)
    return study


def paid_person(study: Study) -> Evaluator:
    person = enrol(study, external_ids={"PROLIFIC_PID": "5f2d"}, external_key="5f2d")
    consent(person)
    return person


def test_the_code_is_copied_and_said(browser: Browser, live_server: LiveServer) -> None:
    person = paid_person(paid_study())
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(live_server.url + link_for(person))
    ready(page)
    page.keyboard.press("4", delay=80)
    expect(page.get_by_role("heading", name="One step left: go back to Prolific")).to_be_visible()
    page.get_by_role("button", name="Copy").click(delay=90)
    expect(page.get_by_role("status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "C0FFEE"
    first, last = page.get_by_role("link", name="Finish on Prolific"), page.get_by_text("After that you can close")
    boxes = [each.bounding_box() for each in (first, last)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["height"] >= 56
    assert boxes[0]["y"] < boxes[1]["y"]
    context.close()


def test_a_small_window_is_told_before_the_consent_and_mended_by_enlarging_it(
    page: Page, live_server: LiveServer
) -> None:
    study = paid_study(smallest_picture=400)
    page.set_viewport_size({"width": 700, "height": 600})
    page.goto(f"{live_server.url}{enrolment_link(study)}?PROLIFIC_PID=5f2d")
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("This window is too small for the pictures")
    expect(notice).to_contain_text("SMALL1")
    expect(page.get_by_text("study@example.org")).to_be_visible()
    button = page.get_by_role("button", name="Read about the study")
    expect(button).to_be_hidden()
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(notice).to_be_hidden()
    button.click(delay=90)
    expect(page.get_by_label("I have read this")).to_be_visible()
    page.set_viewport_size({"width": 700, "height": 600})
    expect(page.get_by_role("button", name="Begin")).to_be_hidden()
    expect(page.get_by_text("zoom out")).to_be_visible()


def test_a_study_for_computers_sends_phones_to_one_and_nobody_without_javascript(
    browser: Browser, live_server: LiveServer
) -> None:
    study = paid_study(computer_only=True)
    address = f"{live_server.url}{enrolment_link(study)}"
    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = phone.new_page()
    page.goto(address)
    expect(page.get_by_text("This study needs a computer")).to_be_visible()
    expect(page.get_by_role("button", name="Read about the study")).to_be_hidden()
    phone.close()
    plain = browser.new_context(java_script_enabled=False)
    page = plain.new_page()
    page.goto(address)
    expect(page.get_by_text("This study needs a computer")).to_be_hidden()
    expect(page.get_by_role("button", name="Read about the study")).to_be_visible()
    plain.close()


def test_the_last_answer_leads_back_to_the_panel_and_the_page_stays_readable(
    page: Page, live_server: LiveServer
) -> None:
    study = paid_study(redirect_at_once=True, completion_url=f"{live_server.url}/healthz?cc={{code}}")
    person = paid_person(study)
    page.goto(live_server.url + link_for(person))
    ready(page)
    page.keyboard.press("4", delay=80)
    expect(page.get_by_text("in five seconds")).to_be_visible()
    page.wait_for_url("**/healthz?cc=C0FFEE", timeout=15_000)
    assert Trial.objects.filter(booklet__evaluator=person, ratings__isnull=False).count() == 1
