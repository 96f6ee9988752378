"""A study's page in a real browser: what is over is folded, and fetched when somebody opens it."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Study
from tests.helpers.browser_steps import log_in, until
from tests.helpers.factories import make_ready_study

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture
def prepared() -> Study:
    return make_ready_study(owner=User.objects.create_superuser("ada", password="a long password"))


def headings(page: Page) -> list[str]:
    return [each.inner_text() for each in page.locator("#story h2").all()]


def test_before_the_opening_pictures_come_first(page: Page, live_server: LiveServer, prepared: Study) -> None:
    log_in(page, live_server)
    page.goto(f"{live_server.url}/console/studies/{prepared.pk}/")
    expect(page.get_by_role("heading", name="High stratum")).to_be_visible()
    assert headings(page)[:3] == ["Pictures", "Evaluators", "Plan"]
    expect(page.get_by_role("button", name="Make pilot links")).to_be_visible()


def test_while_it_collects_the_rest_is_folded(page: Page, live_server: LiveServer, prepared: Study) -> None:
    open_study(prepared)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    log_in(page, live_server)
    page.goto(f"{live_server.url}/console/studies/{prepared.pk}/")
    expect(page.get_by_text("No ratings count yet.")).to_be_visible()
    expect(page.get_by_role("button", name="Make invitation links")).to_be_visible()
    assert headings(page) == ["Now", "Results", "Evaluators", "Plan", "Pictures", "Bundle", "Close"]
    assert page.evaluate("document.documentElement.scrollHeight") < 2600
    assert not any("/parts/pictures/" in address for address in asked)
    expect(page.get_by_role("link", name="All pairs")).to_be_hidden()
    page.get_by_role("heading", name="Pictures").click()
    expect(page.get_by_role("heading", name="High stratum")).to_be_visible()
    expect(page.get_by_role("link", name="All pairs")).to_be_visible()
    assert sum("/parts/pictures/" in address for address in asked) == 1
    assert Axe().run(page, options=RULES).response["violations"] == []


def test_an_address_with_a_chapters_name_opens_it(page: Page, live_server: LiveServer, prepared: Study) -> None:
    open_study(prepared)
    log_in(page, live_server)
    page.goto(f"{live_server.url}/console/studies/{prepared.pk}/#bundle")
    until(page, "document.querySelector('#bundle').closest('details').open")
    expect(page.get_by_role("button", name="Download the bundle")).to_be_visible()
    expect(page.get_by_role("button", name="Close the study")).to_be_hidden()
