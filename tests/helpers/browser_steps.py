"""What browser tests do again and again."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import link_for
from evenhand.studies.models import Evaluator


def begin(page: Page, live_server: LiveServer, evaluator: Evaluator) -> None:
    page.goto(live_server.url + link_for(evaluator))
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_text("1 of 12")).to_be_visible()


def ready(page: Page, timeout: float = 5000) -> None:
    """Wait until both pictures are shown and the options can be pressed; look at both where one is seen at a time."""
    main = page.locator("main.trial")
    expect(main).to_have_attribute("data-state", re.compile("looking|ready"), timeout=timeout)
    if main.get_attribute("data-layout") == "single":
        for tab in page.locator(".tabs button").all()[::-1]:
            tab.click()
    expect(page.locator("main.trial")).to_have_attribute("data-state", "ready", timeout=timeout)
