"""A prompt file's way through the console in a real browser: upload, preview, import, deletion."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.models import PromptSet
from evenhand.studies.prompt_import import import_texts
from tests.helpers.factories import make_admin

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SHOTS = os.environ.get("EVENHAND_SHOTS")  # a folder into which the pages are pictured
TABLE = (
    "Prompt\tCategory\tseed\n"
    '"O N E" painted on a gate\tsigns\t1.0\n'
    + "".join(f"a blue mug beside {i} plates, seen from above\tthings\t{i}.0\n" for i in range(60))
    + f"{'red cube ' * 90}\tlong\t\n\t\t\n"
)


def problems(page: Page) -> list[str]:
    return [violation["id"] for violation in Axe().run(page).response["violations"]]


def picture(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_a_file_is_looked_at_before_it_is_imported(
    browser: Browser, live_server: LiveServer, settings: Any, tmp_path: Path, width: int, scheme: Any
) -> None:
    settings.VAR = tmp_path
    make_admin("ada")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{live_server.url}/console/prompts/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("File", exact=True).set_input_files(
        {"name": "signs and mugs.tsv", "mimeType": "text/tab-separated-values", "buffer": TABLE.encode()}
    )
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_text("separated by tabs, without quoting")).to_be_visible()
    expect(page.get_by_text('"O N E" painted on a gate')).to_be_visible()
    expect(page.get_by_text("1 row cannot be used as it is")).to_be_visible()
    expect(page.get_by_role("button", name="Import")).to_have_count(0)
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture(page, f"preview-{width}")

    page.get_by_label("Leave out rows without a prompt").check()
    page.get_by_label("demo", exact=True).check()
    page.get_by_role("button", name="Show it so").click()
    expect(page.get_by_text("1 row is left out")).to_be_visible()
    assert not PromptSet.with_unfinished.exists()
    picture(page, f"preview-chosen-{width}")
    page.get_by_label("Name of the prompt set").fill("Signs and mugs")
    page.get_by_role("button", name="Import 61 prompts as shown").click()
    expect(page.get_by_text("Imported 61 prompts as “Signs and mugs”.")).to_be_visible()
    expect(page.get_by_role("cell", name='"O N E" painted on a gate')).to_be_visible()
    assert problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture(page, f"set-{width}")

    page.get_by_label("Find prompts with these words").fill("beside 17 plates")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_text("1 prompt with “beside 17 plates”")).to_be_visible()
    page.get_by_label("Deleting is for good").fill("Signs and mugs")
    page.get_by_role("button", name="Delete the prompt set").click()
    expect(page.get_by_text("“Signs and mugs” is deleted.")).to_be_visible()
    assert problems(page) == []
    assert not PromptSet.with_unfinished.exists()
    picture(page, f"sets-{width}")
    context.close()


def test_the_chart_of_short_prompts_is_no_higher_than_others(browser: Browser, live_server: LiveServer) -> None:
    """Prompts of one or two words make few bars, which are not blown up to the page's width."""
    make_admin("ada")
    found = import_texts(["gate", "red gate", "mug"], name="Short", source="a list")
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{live_server.url}/console/prompts/{found.pk}/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click()
    box = page.locator("svg.lengths").bounding_box()
    assert box is not None
    assert 60 < box["height"] <= 240
    picture(page, "short")
    context.close()
