"""A real Chromium, an open study, and somebody who has a link."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.rating.enrolment import enrol
from tests.helpers.browser_steps import refused_contents
from tests.helpers.factories import make_admin, make_ready_study

# Playwright's synchronous interface runs an event loop in this thread, which Django takes for an asynchronous caller.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
expect.set_options(timeout=15_000)  # milliseconds: a loaded machine shows everything later


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not executable:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail("REQUIRE_SERVICES=1, but there is no Chromium")
        pytest.skip("there is no Chromium on this machine")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    refused = refused_contents(opened)
    yield opened
    context.close()
    assert refused == []


@pytest.fixture
def study() -> Study:
    study = make_ready_study(owner=make_admin("ada"))
    open_study(study)
    return study


@pytest.fixture
def grace(study: Study) -> Evaluator:
    return enrol(study, note="Grace")
