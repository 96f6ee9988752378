"""axe finds nothing on any page, light or dark; the evaluator's pages lay out from right to left too."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import enrolment_link, link_for
from evenhand.studies.lifecycle import close_study, open_study, pause_study
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.procedure import ComprehensionQuestion
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.withdrawal import withdraw
from tests.helpers.browser_steps import ready, refused_contents
from tests.helpers.factories import make_admin, make_draft, make_ready_study
from tests.helpers.pseudo_locale import pseudo  # noqa: F401  (a fixture)

LONGEST = "diffusers_guider.AdaptiveProjectedMixGuidance"  # of the methods' names

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WINDOWS = [(320, 568), (390, 844), (768, 1024), (1440, 900), (1024, 800)]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(params=["light", "dark"])
def themed(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1024, "height": 800}, color_scheme=request.param)
    opened = context.new_page()
    refused = refused_contents(opened)
    yield opened
    context.close()
    assert refused == []


def problems(page: Page) -> list[str]:
    """What axe complains of, one line a rule."""
    found: dict[str, Any] = Axe().run(page, options=RULES).response
    return [
        f"{rule['id']}: {rule['help']} ({'; '.join(str(node['target']) for node in rule['nodes'][:3])})"
        for rule in found["violations"]
    ]


def test_the_evaluators_pages(themed: Page, live_server: LiveServer) -> None:
    """In every state and at five widths: light in English, dark in German."""
    study = make_ready_study(
        introduction=True,
        practice_trials=1,
        comprehension=(ComprehensionQuestion("What do you compare?", ("Sounds", "Pictures"), 1),),
        break_every=1,
        trials_per_evaluator=2,
        contact="ethics@example.org",
        approval="2026-17",
        minimum_age=18,
        debriefing="One picture of each pair was guided anew.",
        completion_code="C0FFEE",
        completion_url="https://panel.example.org/?cc={code}",
    )
    open_study(study)
    seen: dict[str, list[str]] = {}
    language = "en" if themed.evaluate("matchMedia('(prefers-color-scheme: light)').matches") else "de"

    def look(name: str) -> None:
        for width, height in WINDOWS:
            themed.set_viewport_size({"width": width, "height": height})
            seen[f"{name}, {width}"] = problems(themed)

    themed.goto(f"{live_server.url}{enrolment_link(study)}?PROLIFIC_PID=5f2d&lang={language}")
    look("join")
    themed.locator("form button").click()
    themed.locator("[name=agree]").check()
    look("consent")
    themed.locator("[name=of_age]").check()
    themed.locator("form button").click()
    look("instructions")
    themed.locator("form button").click()
    ready(themed)
    look("practice")
    themed.keyboard.press("1")
    expect(themed.locator(".feedback")).to_be_visible()
    look("feedback")
    themed.keyboard.press("Enter")
    expect(themed.locator(".asked")).to_be_visible()
    look("comprehension")
    themed.get_by_label("Sounds").check()
    themed.locator("form button").click()
    expect(themed.locator(".asked.wrong")).to_be_visible()
    look("comprehension again")
    themed.get_by_label("Pictures").check()
    themed.locator("form button").click()
    ready(themed)
    look("trial")
    themed.keyboard.press("z")
    look("zoomed")
    themed.keyboard.press("Escape")
    themed.locator(".skip summary").click()
    look("skip")
    themed.keyboard.press("Escape")
    themed.keyboard.press("1")
    expect(themed.locator("main.trial")).to_have_count(0)
    look("break")
    themed.locator("form button").click()
    ready(themed)
    themed.locator(".back").click()
    ready(themed)
    look("correction")
    themed.go_back()
    ready(themed)
    themed.keyboard.press("5")
    expect(themed.get_by_text("C0FFEE")).to_be_visible()
    look("finished")
    themed.locator("a[href$='/withdraw/']").click()
    look("leave")
    assert {name: found for name, found in seen.items() if found} == {}
    assert len(seen) == 14 * len(WINDOWS)


def test_the_evaluators_messages(themed: Page, live_server: LiveServer, study: Study, grace: Evaluator) -> None:
    themed.goto(live_server.url + "/e/nobody.0123/")
    seen = {"unknown link": problems(themed)}
    withdraw(enrolled := enrol(study))
    themed.goto(live_server.url + link_for(enrolled))
    seen["withdrawn"] = problems(themed)
    pause_study(study)
    themed.goto(live_server.url + link_for(grace))
    seen["paused"] = problems(themed)
    close_study(study)
    themed.goto(live_server.url + link_for(grace))
    seen["closed"] = problems(themed)
    assert {name: found for name, found in seen.items() if found} == {}


def test_the_consoles_pages(themed: Page, live_server: LiveServer) -> None:
    study = make_ready_study(owner=make_admin("ada"), attention_checks=1)
    ready_study = make_ready_study(owner=study.owner, name="Corgis", attention_checks=1)
    open_study(study)
    enrol(study, note="Grace")
    draft = make_draft(study.owner, name="Stars")
    themed.goto(f"{live_server.url}/console/")
    seen = {"login": problems(themed)}
    themed.get_by_label("Username").fill("ada")
    themed.get_by_label("Password").fill("a long password")
    themed.get_by_role("button", name="Log in").click()
    for name, path in {
        "studies": "/console/",
        "new study": "/console/studies/new/",
        "new study by steps": "/console/studies/new/steps/",
        "step of a plan": f"/console/studies/{draft.pk}/plan/questions/",
        "review of a plan": f"/console/studies/{draft.pk}/plan/review/",
        "study": f"/console/studies/{study.pk}/",
        "pairs": f"/console/studies/{study.pk}/pairs/",
        "check pairs": f"/console/studies/{study.pk}/checks/",
        "check pairs to exchange": f"/console/studies/{ready_study.pk}/checks/",
        "versions of the plan": f"/console/studies/{study.pk}/versions/",
        "metrics": f"/console/studies/{study.pk}/metrics/",
        "candidates": f"/console/studies/{draft.pk}/candidates/",
        "a new candidate": f"/console/studies/{draft.pk}/candidates/new/?method=perturbed_attention",
        "nothing": "/console/studies/999999/",
        "prompt sets": "/console/prompts/",
        "prompt set": f"/console/prompts/{study.prompt_set_id}/",
    }.items():
        themed.goto(live_server.url + path)
        seen[name] = problems(themed)
    assert {name: found for name, found in seen.items() if found} == {}
    themed.set_viewport_size({"width": 390, "height": 800})
    own = [f"{study.pk}/{page}" for page in ("", "versions/", "metrics/")]
    for page in (*own, f"{draft.pk}/candidates/", f"{draft.pk}/candidates/new/?method={LONGEST}"):
        themed.goto(f"{live_server.url}/console/studies/{page}")
        assert themed.evaluate("document.documentElement.scrollWidth") <= 390, page


@pytest.mark.usefixtures("pseudo")
@pytest.mark.parametrize("width", [1024, 390])
def test_right_to_left_keeps_left_on_the_left(
    browser: Browser, live_server: LiveServer, grace: Evaluator, width: int
) -> None:
    consent(grace, language="ar")
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(live_server.url + link_for(grace))
    ready(page)
    assert page.evaluate("getComputedStyle(document.documentElement).direction") == "rtl"
    left, right = (page.locator(f"[data-side={side}]").bounding_box() for side in ("left", "right"))
    first, last = page.locator(".option").first.bounding_box(), page.locator(".option").last.bounding_box()
    assert left is not None
    assert right is not None
    assert first is not None
    assert last is not None
    assert first["x"] < last["x"]
    if width == 1024:
        assert left["x"] < right["x"]
    else:  # in one place, by turns; A stands before B
        one, other = (tab.bounding_box() for tab in page.locator(".tabs button").all())
        assert one is not None
        assert other is not None
        assert one["x"] < other["x"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    text, foot = page.locator(".progress-text").bounding_box(), page.locator(".foot").bounding_box()
    assert text is not None
    assert foot is not None
    assert text["x"] + text["width"] > foot["x"] + foot["width"] - 2  # the line begins on the right
    assert problems(page) == []
    page.keyboard.press("1")
    expect(page.locator(".progress-text")).to_contain_text("2 of 12")
    context.close()


def test_every_key_is_a_new_uuid(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    page.goto(live_server.url + link_for(grace))
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Begin").click()
    keys = set()
    for _ in range(2):
        ready(page)
        keys.add(uuid.UUID(page.locator("input[name=key]").input_value()))
        page.reload()
    assert len(keys) == 2
