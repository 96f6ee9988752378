"""From an archive to a rated histogram in a real browser: upload, preview, take, open, rate, results."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import link_for
from evenhand.studies.models import Rating, Study
from evenhand.studies.rating.enrolment import enrol
from tests.helpers.browser_steps import log_in, ready
from tests.helpers.factories import make_admin, make_draft
from tests.helpers.pictures import pairs_table, picture, two_arms, zipped

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
RATED = 4


def look(page: Page, name: str) -> None:
    """Find nothing with axe in light and dark; keep a screenshot of a wide and a narrow window where asked to."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, found.generate_report()
        if folder := os.environ.get("SCREENSHOTS"):
            for width in (1440, 390):
                page.set_viewport_size({"width": width, "height": 900})
                page.screenshot(path=f"{folder}/{name}-{scheme}-{width}.png", full_page=True)
            page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme="light")


def upload_and_take(page: Page, archive: Path) -> None:
    page.get_by_role("link", name="Study of uploaded pictures").click()
    look(page, "upload")
    page.get_by_label("Archives of pictures").set_input_files(archive)
    page.get_by_role("button", name="Look at them").click()
    expect(page.get_by_text("1 pair of unequal size")).to_be_visible()
    expect(page.get_by_text("cannot be taken so")).to_be_visible()
    look(page, "blocked")
    page.get_by_label("Pairs of unequal size").select_option("fit")
    page.get_by_label("Pairs per evaluator").fill(str(RATED))
    page.get_by_label("Evaluators wanted").fill("2")
    page.get_by_role("button", name="Show it so").click()
    page.get_by_text("1 file that is not taken").click()
    expect(page.get_by_text("apple/0008.png: is no readable")).to_be_visible()
    look(page, "preview")
    page.get_by_label("Name of the study").fill("Fruit")
    page.get_by_label("first: name for study admins").fill("Apple")
    page.get_by_label("second: name for study admins").fill("Berry")
    page.get_by_role("button", name="Make the study of 8 pairs").click()
    expect(page.get_by_role("heading", name="Fruit")).to_be_visible()
    page.get_by_role("heading", name="Plan").click()  # which is folded
    expect(page.get_by_text("made elsewhere and uploaded")).to_be_visible()
    look(page, "study")


def press_a_few(page: Page) -> None:
    """Rate as people do: look, then press one key."""
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Begin").click()
    shapes = set()
    for number in range(1, RATED + 1):
        expect(page.get_by_text(f"{number} of {RATED}")).to_be_visible()
        ready(page)
        for side in ("left", "right"):
            image = page.locator(f"img[data-side={side}]")
            shapes.add(image.evaluate("e => getComputedStyle(e).objectFit"))
        page.wait_for_timeout(random.Random(number).randint(60, 250))
        page.keyboard.press(str(1 + number % 5))
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert shapes == {"contain"}


def test_an_archive_becomes_a_histogram(
    browser: Browser, page: Page, live_server: LiveServer, tmp_path: Path, settings: Any
) -> None:
    settings.VAR = tmp_path / "var"
    make_admin("ada")
    files = two_arms(9, size=(96, 96)) | {"pairs.csv": pairs_table(9)}
    files |= {f"{arm}/0002.png": picture(30 + place, (128, 64)) for place, arm in enumerate(("apple", "berry"))}
    files |= {"berry/0003.png": picture(9, (64, 128)), "apple/0008.png": files["apple/0008.png"][:99]}
    archive = tmp_path / "fruit.zip"
    archive.write_bytes(zipped(files))
    page.set_default_timeout(8000)
    log_in(page, live_server)
    upload_and_take(page, archive)
    study = Study.objects.get()
    page.get_by_role("button", name="Open").click()
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    person = context.new_page()
    person.goto(live_server.url + link_for(enrol(study, note="Grace")))
    person.set_default_timeout(8000)
    press_a_few(person)
    context.close()
    assert Rating.objects.filter(evaluator__study=study, counted=True).count() == RATED
    page.goto(f"{live_server.url}/console/studies/{study.pk}/results/")
    expect(page.get_by_role("heading", name="Strata")).to_be_visible()
    expect(page.locator("main img").first).to_be_visible()
    assert page.locator("main img").first.evaluate("e => e.complete && e.naturalWidth > 0")
    look(page, "results")


def test_an_archive_becomes_a_candidate_beside_generated_ones(
    page: Page, live_server: LiveServer, tmp_path: Path, settings: Any
) -> None:
    settings.VAR = tmp_path / "var"
    study = make_draft(owner=make_admin("ada"))
    archive = tmp_path / "painted.zip"
    archive.write_bytes(zipped({f"{number:04d}.png": picture(number, (64, 64)) for number in range(60)}))
    log_in(page, live_server)
    page.goto(f"{live_server.url}/console/studies/{study.pk}/candidates/pictures/")
    page.get_by_label("Archive of pictures").set_input_files(archive)
    page.get_by_role("button", name="Look at them").click()
    expect(page.get_by_text("Pictures of 60 prompts")).to_be_visible()
    look(page, "candidate")
    page.get_by_label("Name of the candidate").fill("Painted")
    page.get_by_role("button", name="Add them as a candidate").click()
    expect(page.get_by_text("Added: Painted.")).to_be_visible()
    look(page, "candidates")
