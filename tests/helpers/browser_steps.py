"""What browser tests do again and again."""

from __future__ import annotations

import re
import time

from playwright.sync_api import ConsoleMessage, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import link_for
from evenhand.studies.models import Evaluator


def begin(page: Page, live_server: LiveServer, evaluator: Evaluator) -> None:
    page.goto(live_server.url + link_for(evaluator))
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_text("1 of 12")).to_be_visible()


def ready(page: Page, timeout: float = 15_000) -> None:
    """Wait until both pictures are shown and the options can be pressed; look at both where one is seen at a time."""
    main = page.locator("main.trial")
    expect(main).to_have_attribute("data-state", re.compile("looking|ready"), timeout=timeout)
    if main.get_attribute("data-layout") == "single":
        for tab in page.locator(".tabs button").all()[::-1]:
            tab.click()
    expect(page.locator("main.trial")).to_have_attribute("data-state", "ready", timeout=timeout)


def refused_contents(page: Page) -> list[str]:
    """Return what the page's content policy will refuse, as the browser tells it: filled while the page is used."""
    refused: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            refused.append(message.text)

    page.on("console", hear)
    return refused


def until(page: Page, expression: str, seconds: float = 15) -> None:
    """Wait until a JavaScript expression is true; Playwright's own waiting evaluates text, which the policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not within {seconds:g} s: {expression}"
        page.wait_for_timeout(50)


def log_in(page: Page, live_server: LiveServer) -> None:
    page.goto(f"{live_server.url}/console/login/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(lambda url: "/login/" not in url)  # a page asked for at once would come before the session
