"""Tables that are whole on their page are sorted by any column, in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Study
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.browser_steps import log_in
from tests.helpers.factories import make_ready_study

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture
def studies() -> list[Study]:
    """Four studies with 2, 10, 0 and 1 people, made on days whose names sort otherwise than they follow each other."""
    ada = User.objects.create_superuser("ada", password="a long password")
    made = [make_ready_study(owner=ada, name=name, quota=12) for name in ("Corgis 2", "Corgis 10", "beagles", "Dogs")]
    for study, count in zip(made, (2, 10, 0, 1), strict=True):
        open_study(study)
        for _ in range(count):
            consent(enrol(study))
    for study, (month, day) in zip(made, ((12, 9), (1, 30), (11, 1), (10, 2)), strict=True):
        Study.objects.filter(pk=study.pk).update(created_at=datetime(2026, month, day, 12, tzinfo=UTC))
    return made


def names(page: Page) -> list[str]:
    return [each.inner_text() for each in page.locator("tbody th").all()]


def press(page: Page, title: str) -> list[str]:
    page.get_by_role("columnheader", name=title).get_by_role("button").click(delay=90)
    return names(page)


def test_text_numbers_and_days(page: Page, live_server: LiveServer, studies: list[Study]) -> None:
    log_in(page, live_server)
    as_they_came = names(page)
    assert press(page, "Study") == ["beagles", "Corgis 2", "Corgis 10", "Dogs"]
    expect(page.get_by_role("columnheader", name="Study")).to_have_attribute("aria-sort", "ascending")
    assert press(page, "Evaluators") == ["Corgis 10", "Corgis 2", "Dogs", "beagles"]
    expect(page.get_by_role("columnheader", name="Study")).not_to_have_attribute("aria-sort", "ascending")
    assert press(page, "Evaluators") == ["beagles", "Dogs", "Corgis 2", "Corgis 10"]
    assert press(page, "Evaluators") == as_they_came == ["Corgis 2", "Corgis 10", "beagles", "Dogs"]
    expect(page.locator("[aria-sort]")).to_have_count(0)
    assert press(page, "Made") == ["Corgis 10", "Dogs", "beagles", "Corgis 2"]
    assert Axe().run(page, options=RULES).response["violations"] == []


TABLE = """
<meta charset="utf-8">
<link rel="stylesheet" href="{url}/static/console/console.css">
<table data-sortable class="stacked">
<thead><tr><th>Metric</th><th class="number">Value</th><th>Count</th><th>Change</th></tr></thead>
<tbody>
<tr><td>a</td><td>1.2034</td><td>1,200</td><td><form><button>x</button></form></td></tr>
<tr><td>b</td><td>9.10e−05</td><td>900</td><td><form><button>w</button></form></td></tr>
<tr><td>c</td><td>–</td><td>30</td><td></td></tr>
<tr><td>d</td><td>−0.5 (−1 to 2)</td><td>30,000</td><td></td></tr>
</tbody></table>
<script type="module" src="{url}/static/console/sort.js"></script>
"""


def test_small_and_missing_numbers_and_columns_of_buttons(page: Page, live_server: LiveServer) -> None:
    page.goto(f"{live_server.url}/console/login/")
    page.route(
        "**/table", lambda route: route.fulfill(body=TABLE.format(url=live_server.url), content_type="text/html")
    )
    page.goto(f"{live_server.url}/table")

    def pressed(title: str) -> str:
        page.get_by_role("button", name=title, exact=True).click()
        return "".join(each.inner_text() for each in page.locator("tbody td:first-child").all())

    assert [pressed("Value"), pressed("Value"), pressed("Value")] == ["abdc", "dbac", "abcd"]
    assert pressed("Count") == "cbad"
    assert page.get_by_role("columnheader", name="Change").get_by_role("button").count() == 0
    page.set_viewport_size({"width": 390, "height": 800})  # the heads of stacked tables are not shown there
    assert page.locator("th button").evaluate_all("buttons => buttons.map(each => each.tabIndex)") == [-1, -1, -1]


def test_keys_sort_too(page: Page, live_server: LiveServer, studies: list[Study]) -> None:
    log_in(page, live_server)
    page.get_by_role("columnheader", name="Evaluators").get_by_role("button").focus()
    page.keyboard.press("Enter", delay=120)
    assert names(page)[0] == "Corgis 10"
