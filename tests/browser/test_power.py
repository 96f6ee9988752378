"""The power page in a real browser: narrow and wide, light and dark, with and without JavaScript."""

from __future__ import annotations

import os
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, expect
from pytest_django.live_server_helper import LiveServer

from tests.helpers.browser_steps import until
from tests.helpers.factories import make_admin, make_draft

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def logged_in(browser: Browser, live_server: LiveServer, **options: Any) -> BrowserContext:
    client = Client()
    client.force_login(make_admin("ada"))
    context = browser.new_context(**options)
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
    return context


def complaints(page: Any) -> list[str]:
    return [rule["id"] for rule in Axe().run(page, options=RULES).response["violations"]]


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
def test_answers_follow_the_form(browser: Browser, live_server: LiveServer, width: int, scheme: Any) -> None:
    context = logged_in(browser, live_server, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{live_server.url}/console/power/")
    expect(page.locator("#answers strong").first).to_have_text("25 points")
    figure = page.locator("#answers img")
    wanted = ("columns=1", "theme=dark")[width > 800]
    assert wanted in figure.evaluate("each => each.currentSrc")
    until(page, "document.querySelector('#answers img').naturalWidth > 0")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints(page) == []
    page.get_by_label("Evaluators", exact=True).fill("40")
    page.get_by_label("Evaluators", exact=True).press("Tab")
    expect(page.locator("#answers strong").first).to_have_text("17 points")
    expect(page.get_by_label("Pairs that each of them rates")).to_be_focused()
    assert "evaluators=40" in page.url
    page.get_by_label("Pairs that each of them rates").fill("500")
    page.get_by_label("Pairs that each of them rates").press("Tab")
    expect(page.locator("#answers .notice")).to_contain_text("500 pairs need as many prompts")
    page.get_by_role("button", name="Compute").click()
    expect(page.locator("#answers .notice")).to_be_visible()
    assert complaints(page) == []
    page.get_by_label("Pairs that each of them rates").fill("30")
    page.get_by_label("Pairs that each of them rates").press("Tab")
    page.get_by_role("button", name="Simulate").click()
    expect(page.locator("#answers [role=status]")).to_contain_text("simulated studies", timeout=15_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints(page) == []
    if folder := os.environ.get("EVENHAND_PICTURES"):
        page.screenshot(path=f"{folder}/power-{width}-{scheme}.png", full_page=True)
    context.close()


def test_everything_works_without_javascript(browser: Browser, live_server: LiveServer) -> None:
    context = logged_in(browser, live_server, viewport={"width": 1024, "height": 800}, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{live_server.url}/console/power/")
    page.get_by_label("Evaluators", exact=True).fill("1")
    page.get_by_role("button", name="Compute").click()
    expect(page.locator("#id_evaluators_error")).to_contain_text("greater than or equal to 2")
    page.get_by_label("Evaluators", exact=True).fill("40")
    page.get_by_role("button", name="Compute").click()
    expect(page.locator("#answers strong").first).to_have_text("17 points")
    page.get_by_role("button", name="Simulate").click()
    expect(page.locator("#answers [role=status]")).to_contain_text("found it", timeout=15_000)
    expect(page.get_by_label("Evaluators", exact=True)).to_have_value("40")
    context.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_the_plan_leads_to_its_power(browser: Browser, live_server: LiveServer, width: int) -> None:
    context = logged_in(browser, live_server, viewport={"width": width, "height": 900})
    study = make_draft(make_admin("grace"), per_stratum=50, trials_per_evaluator=30, quota=40)
    study.owner = type(study.owner).objects.get(username="ada")
    study.save(update_fields=["owner"])
    page = context.new_page()
    page.goto(f"{live_server.url}/console/studies/{study.pk}/")
    if folder := os.environ.get("EVENHAND_PICTURES"):
        page.screenshot(path=f"{folder}/plan-{width}.png", full_page=True)
    assert complaints(page) == []
    page.get_by_role("link", name="Power of this plan").click()
    expect(page.get_by_label("Evaluators", exact=True)).to_have_value("40")
    expect(page.locator("#answers strong").first).to_have_text("17 points")
    context.close()
