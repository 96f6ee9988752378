"""The preview in a browser: the real trial page, from the console and back to it, with nothing stored."""

from __future__ import annotations

import pytest
from django.apps import apps
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.helpers.browser_steps import begin, log_in, ready
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def rows() -> dict[str, int]:
    return {model.__name__: model._default_manager.count() for model in apps.get_app_config("studies").get_models()}


def test_an_admin_walks_an_evaluators_pages(page: Page, live_server: LiveServer) -> None:
    study = make_ready_study(owner=make_admin("ada"), name="Trying")
    before = rows()
    log_in(page, live_server)
    page.goto(f"{live_server.url}/console/studies/{study.pk}/")
    page.get_by_role("button", name="Preview as an evaluator").click()
    expect(page.get_by_text("Preview: nothing is stored.")).to_be_visible()
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Begin", exact=True).click()
    expect(page.get_by_text("1 of 12")).to_be_visible()
    expect(page.get_by_text("Preview: nothing is stored.")).to_be_visible()
    ready(page)
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    page.reload()
    expect(page.get_by_text("2 of 12")).to_be_visible()
    page.get_by_role("button", name="Begin again").click()
    page.get_by_label("I have read this").check()
    page.get_by_role("link", name="End the preview").click()
    expect(page.get_by_role("heading", name="Trying")).to_be_visible()
    assert rows() == before


def test_somebody_of_a_pilot_rates_before_the_study_is_opened(page: Page, live_server: LiveServer) -> None:
    study = make_ready_study(owner=make_admin("ada"), name="Trying")
    log_in(page, live_server)
    page.goto(f"{live_server.url}/console/studies/{study.pk}/")
    page.get_by_label("New pilot links").fill("1")
    page.get_by_role("button", name="Make pilot links").click()
    expect(page.get_by_text("1 invited, 0 begun, 0 finished, 0 answers.")).to_be_visible()
    person = study.evaluators.get()
    begin(page, live_server, person)
    expect(page.get_by_text("Preview")).to_have_count(0)
    ready(page)
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    page.goto(f"{live_server.url}/console/studies/{study.pk}/")
    expect(page.get_by_text("1 invited, 1 begun, 0 finished, 1 answer.")).to_be_visible()
    page.get_by_role("link", name="People of the pilot").click()
    expect(page.locator("td .mark", has_text="pilot")).to_have_count(1)
