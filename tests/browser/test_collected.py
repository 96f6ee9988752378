"""In a real Chromium: rating with the scripts as `collectstatic` leaves them for production."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from django.core.management import call_command
from playwright.sync_api import Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.models import Evaluator, Rating
from tests.helpers.browser_steps import begin, ready

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LOADED_AT_ONCE = ("shut", "trial", "delivery", "pictures", "layout", "size")


@pytest.fixture
def collected(tmp_path: Path, settings: Settings) -> Path:
    """Collect as with EVENHAND_STATIC; what the server then finds is only what was collected."""
    settings.STATIC_ROOT = str(tmp_path)
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": "evenhand.config.collected.CollectedFiles"}}
    call_command("collectstatic", interactive=False, verbosity=0)
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STATICFILES_DIRS = [tmp_path]
    return tmp_path


def test_a_pair_is_rated_with_minified_and_renamed_modules(
    page: Page, live_server: LiveServer, collected: Path, grace: Evaluator
) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    scripts: list[str] = []
    page.on("request", lambda request: scripts.append(request.url) if request.url.endswith(".js") else None)
    begin(page, live_server, grace)
    ready(page)
    page.keyboard.press("4")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    assert Rating.objects.get().choice == 1
    assert problems == []
    names = {url.rsplit("/", 1)[1] for url in scripts}
    assert {name.split(".")[0] for name in names} >= {
        "shut",
        "trial",
        "delivery",
        "pictures",
        "layout",
        "size",
        "controls",
    }
    assert all(name.count(".") == 2 for name in names)  # every one bears the hash of its content


def test_what_the_page_loads_at_once_is_small(collected: Path) -> None:
    at_once = [next((collected / "rating").glob(f"{name}.*.js")) for name in LOADED_AT_ONCE]
    assert sum(file.stat().st_size for file in at_once) < 20_000
    for file in at_once:
        assert gzip.decompress(file.with_name(file.name + ".gz").read_bytes()) == file.read_bytes()
