"""The results page in a real browser: narrow and wide, light and dark, without JavaScript, with and without ratings."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.criteria import PRESETS, Criterion
from evenhand.studies.exclusions import exclude
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import Study, Trial
from evenhand.studies.results.report import study_report
from evenhand.studies.results.tables.numbers import p_value, points, size
from tests.helpers.browser_steps import until
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.ratings import invite, rate, rate_booklet

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def answer(trial: Trial) -> int:
    return min(2, (trial.pk * 7) % 5 - 2 + (trial.pk % 3 == 0))


@pytest.fixture
def closed() -> Study:
    """Two criteria, checks, repeats, somebody left out before the closing and somebody after it."""
    study = make_ready_study(
        owner=make_admin("ada"), quota=8, attention_checks=1, repeats=1, equivalence_margin=10,
        criteria=(Criterion(), PRESETS["appeal"]),
    )  # fmt: skip
    open_study(study)
    for n, name in enumerate(("grace", "alan", "joan", "mary")):
        person = invite(study, name)
        for trial in person.booklet.trials.select_related("pair", "booklet__study"):
            if trial.kind == Trial.Kind.ATTENTION:
                right = trial.expected_choice or 1
                rate(trial, 2 * (right if n else -right))
            else:
                rate(trial, answer(trial), elapsed_ms=200 * trial.position)
    exclude(study.evaluators.get(note="alan"), reason="pressed one key", actor=study.owner)
    close_study(study)
    exclude(study.evaluators.get(note="joan"), reason="took part twice", actor=study.owner)
    return study


def opened(browser: Browser, live_server: LiveServer, study: Study, **options: Any) -> Page:
    """The results page of a study, looked at by its admin."""
    client = Client()
    client.force_login(study.owner)
    context = browser.new_context(**options)
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/console/studies/{study.pk}/results/")
    return page


def complaints(page: Page) -> list[str]:
    found = Axe().run(page, options=RULES).response["violations"]
    return [f"{rule['id']} ({'; '.join(str(node['target']) for node in rule['nodes'][:3])})" for rule in found]


def open_all(page: Page) -> None:
    """Open all that is folded, chapters and what they fold themselves."""
    while page.locator("details:not([open]) > summary:visible").count():
        page.locator("details:not([open]) > summary:visible").first.click()


OPEN = "[...document.querySelectorAll('details[data-chapter]')].filter(each => each.open).length"


def test_chapters_are_folded_on_a_phone_and_open_when_they_are_named_or_printed(
    browser: Browser, live_server: LiveServer, closed: Study
) -> None:
    page = opened(browser, live_server, closed, viewport={"width": 390, "height": 844})
    chapters = page.locator("details[data-chapter]").count()
    assert chapters == 11
    until(page, f"{OPEN} === 0")
    folded = page.evaluate("document.documentElement.scrollHeight")
    assert page.locator(".answer").first.is_visible()  # the answer and its figure are never folded
    page.locator(".contents a[href='#times']").click()
    until(page, f"{OPEN} === 1")
    assert page.get_by_role("region", name="Table: Time").is_visible()
    page.locator("summary", has_text="Time").click()
    until(page, f"{OPEN} === 0")
    page.locator(".contents a[href='#times']").click()  # the address names it already
    until(page, f"{OPEN} === 1")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(OPEN) == chapters
    assert page.evaluate("document.documentElement.scrollHeight") > 3 * folded
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(OPEN) == 1
    page.set_viewport_size({"width": 1440, "height": 900})
    until(page, f"{OPEN} === {chapters}")
    page.context.close()


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chapter_fits_and_is_accessible(
    browser: Browser, live_server: LiveServer, closed: Study, width: int, scheme: Any
) -> None:
    page = opened(browser, live_server, closed, viewport={"width": width, "height": 900}, color_scheme=scheme)
    open_all(page)
    figures = page.locator("img.figure")
    assert figures.count() == 3
    for i in range(3):
        figures.nth(i).scroll_into_view_if_needed()
        until(page, f"document.querySelectorAll('img.figure')[{i}].naturalWidth > 0")
        source = figures.nth(i).evaluate("each => each.currentSrc")
        assert ("theme=dark" in source) == (scheme == "dark")
    assert ("columns=1" in figures.first.evaluate("each => each.currentSrc")) == (width == 390)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints(page) == []
    targets = page.locator(".contents a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert len(targets) == 12
    assert all(page.locator(target).count() == 1 for target in targets)
    if width == 390:  # rows are cards that name each number; nothing scrolls sideways
        wide = page.locator(".scroll").evaluate_all(
            "all => all.filter(each => each.scrollWidth > each.clientWidth + 1)"
        )
        assert wide == []
        cell = page.locator("table.stacked td").first
        assert cell.evaluate("each => getComputedStyle(each, '::before').content") == '"Criterion"'
    page.context.close()


def test_the_page_says_in_words_what_the_report_holds_and_needs_no_javascript(
    browser: Browser, live_server: LiveServer, closed: Study
) -> None:
    report = study_report(closed)
    first = report["comparisons"][0]
    page = opened(browser, live_server, closed, java_script_enabled=False, viewport={"width": 390, "height": 800})
    told = " ".join(page.locator(".answer").first.inner_text().split())
    for share in (first["candidate_share"], first["baseline_share"], first["none_share"]):
        assert f"{100 * share:.0f} %" in told
    net, holm = first["net_share"], first["holm"]
    if net["p"] is None:  # chance gave no interval: the page says why
        assert f"There is no interval: {net['reason']}." in told
    else:
        assert f"{p_value(net['p'])} ({p_value(holm['adjusted_p'])} after Holm" in told
    text = " ".join(page.locator("main").inner_text().split())
    detectable = first["detectable"]
    assert (detectable["reason"] or f"a net preference of {size(detectable['net_share'])} points or more") in text
    assert "2 of 4 evaluators were left out because “pressed one key” (1), “took part twice” (1)." in text
    assert "1 change since" in text
    assert "Equivalent" in text
    checks = report["checks"]
    assert (checks["evaluators"], checks["evaluators_failed"]) == (2, 1)
    assert 0 < checks["passed"] < checks["n"]
    assert f"1 of {checks['evaluators']} evaluators failed an attention check" in text
    rows = page.get_by_role("region", name="Table: All comparisons").locator("tbody tr")
    expect(rows).to_have_count(4)
    page.context.close()


def test_a_study_without_ratings_has_a_calm_page(browser: Browser, live_server: LiveServer) -> None:
    study = make_ready_study(owner=make_admin("ada"))
    open_study(study)
    page = opened(browser, live_server, study, viewport={"width": 390, "height": 800})
    expect(page.locator(".answer").first).to_contain_text("has no ratings that count")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert complaints(page) == []
    rate_booklet(invite(study, "grace"), answer)
    page.reload()
    expect(page.locator(".answer").first).to_contain_text("There is no interval: all ratings are of one evaluator")
    page.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
def test_an_open_study_is_watched_in_a_fold(browser: Browser, live_server: LiveServer, width: int, scheme: Any) -> None:
    study = make_ready_study(owner=make_admin("ada"), quota=8)
    open_study(study)
    for name in ("grace", "alan", "joan", "mary"):
        rate_booklet(invite(study, name), answer)
    page = opened(browser, live_server, study, viewport={"width": width, "height": 900}, color_scheme=scheme)
    rows = page.locator("details", has_text="Watch while collecting").locator("li")
    expect(rows.first).not_to_be_visible()
    page.get_by_text("Watch while collecting").click()
    expect(rows).to_have_count(2)
    for i, each in enumerate(study_report(study)["comparisons"]):
        found = each["sequence"]
        expect(rows.nth(i)).to_contain_text(found["reason"] or f"{points(found['low'])} to {points(found['high'])}")
        expect(rows.nth(i)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints(page) == []
    page.context.close()
