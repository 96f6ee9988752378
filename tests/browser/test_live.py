"""A collecting study's page in a real browser follows somebody who rates; people and panel pages do what they say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import link_for
from evenhand.studies.lifecycle import pause_study
from evenhand.studies.models import Evaluator, Study
from tests.helpers.browser_steps import begin, ready

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
SHOTS = os.environ.get("SHOTS")  # a folder for screenshots


def opened(browser: Browser, live_server: LiveServer, study: Study, path: str, **options: Any) -> Page:
    client = Client()
    client.force_login(study.owner)
    context = browser.new_context(**options)
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/console/studies/{study.pk}/{path}")
    return page


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def test_the_page_follows_somebody_who_rates(
    page: Page, browser: Browser, live_server: LiveServer, study: Study, grace: Evaluator
) -> None:
    admin = opened(browser, live_server, study, "", viewport={"width": 1440, "height": 900})
    live = admin.locator("#live")
    expect(live).to_contain_text("0 of 4 places taken; 0 of 48 answers.")
    admin.get_by_role("heading", name="Close").click()
    admin.get_by_label("type the study’s name", exact=False).fill("half a na")
    begin(page, live_server, grace)
    for key in "45":
        ready(page)
        page.keyboard.press(key, delay=120)
        page.wait_for_timeout(200)
    expect(live).to_contain_text("1 of 4 places taken; 2 of 48 answers.", timeout=15000)
    expect(admin.get_by_label("type the study’s name", exact=False)).to_have_value("half a na")
    assert Axe().run(admin, options=RULES).response["violations"] == []
    shoot(admin, "live-1440")
    pause_study(study, actor=study.owner)
    expect(admin.get_by_role("button", name="Resume")).to_be_visible(timeout=15000)
    admin.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
def test_the_people_page_copies_links_and_saves_notes(
    browser: Browser, live_server: LiveServer, study: Study, grace: Evaluator, width: int, scheme: str
) -> None:
    admin = opened(
        browser, live_server, study, "people/?q=grace", viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    admin.context.grant_permissions(["clipboard-read", "clipboard-write"])
    admin.get_by_role("button", name="Copy").click()
    expect(admin.get_by_text("Copied", exact=True)).to_be_visible()
    assert admin.evaluate("navigator.clipboard.readText()") == live_server.url + link_for(grace)
    admin.get_by_label("Note on").fill("Grace H.")
    shoot(admin, f"people-{width}-{scheme}")
    admin.get_by_role("button", name="Save").click()
    expect(admin.get_by_label("Note on")).to_have_value("Grace H.")
    assert Evaluator.objects.get().note == "Grace H."
    assert admin.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert Axe().run(admin, options=RULES).response["violations"] == []
    admin.goto(f"{live_server.url}/console/studies/{study.pk}/reconcile/")
    table = f"participant id,status\n{grace.external_key or 'stranger'},APPROVED\n".encode()
    admin.get_by_label("Table of submissions").set_input_files(
        {"name": "panel.csv", "mimeType": "text/csv", "buffer": table}
    )
    admin.get_by_role("button", name="Compare").click()
    expect(admin.get_by_role("heading", name="Unknown here: 1")).to_be_visible()
    shoot(admin, f"reconcile-{width}-{scheme}")
    assert Axe().run(admin, options=RULES).response["violations"] == []
    admin.context.close()
