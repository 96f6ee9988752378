"""The report for print on paper: nothing is cut at the edge, and wide tables stand on pages of their own."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.criteria import PRESETS, Criterion
from evenhand.studies.lifecycle import close_study, open_study
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.ratings import invite, rate_booklet

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
MILLIMETRE = 96 / 25.4  # CSS pixels
PORTRAIT, LANDSCAPE = (210 - 30) * MILLIMETRE, (297 - 24) * MILLIMETRE  # A4 less its margins
WIDTHS = """tables => tables.map(table => [
    table.closest(".wide") !== null, table.getBoundingClientRect().width, table.closest("section").clientWidth,
])"""


def test_no_table_is_cut_on_a4(browser: Browser, live_server: LiveServer) -> None:
    study = make_ready_study(owner=make_admin("ada"), quota=8, criteria=(Criterion(), PRESETS["appeal"]))
    open_study(study)
    for n, name in enumerate(("grace", "alan", "joan")):
        rate_booklet(invite(study, name), lambda trial, n=n: (trial.position * (n + 2)) % 5 - 2)  # type: ignore[misc]
    close_study(study)
    client = Client()
    client.force_login(study.owner)
    context = browser.new_context()
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/console/studies/{study.pk}/printed/")
    page.emulate_media(media="print")
    measured: list[list[Any]] = []
    for is_wide, width in ((False, PORTRAIT), (True, LANDSCAPE)):
        page.set_viewport_size({"width": int(width), "height": 1000})
        found = page.locator("section table").evaluate_all(WIDTHS)
        measured += [[wide, table, room] for wide, table, room in found if wide == is_wide]
    assert {wide for wide, _, _ in measured} == {False, True}
    assert [each for each in measured if each[1] > each[2] + 1] == []
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    context.close()
