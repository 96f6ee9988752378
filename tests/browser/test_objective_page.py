"""The page of metrics in a real browser: narrow and wide, light and dark; its files say what it says."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.generation.guidance import ClassifierFree, fingerprint
from evenhand.studies.configuration import arm_label
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Arm, ArmScore, Image, ImageScore, Scoring, Study
from tests.helpers.factories import drawn_image, make_admin, make_ready_study
from tests.helpers.ratings import invite, rate_booklet

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
STRENGTHS = (1.0, 2.5, 7.5, 12.0)


@pytest.fixture
def study() -> Study:
    """Scored by CLIP and by another program's metric, with a sweep, distances, and ratings of three people."""
    study = make_ready_study(owner=make_admin("ada"), quota=8)
    assert study.recipe is not None
    added = []
    for strength in STRENGTHS:
        guidance = ClassifierFree(strength)
        arm = Arm.objects.create(
            fingerprint=fingerprint(guidance), label=arm_label(guidance), guidance=guidance.to_dict()
        )
        for prompt in study.prompt_set.prompts.order_by("index")[:12]:
            drawn_image(prompt, arm, study.recipe)
        added.append(arm)
    comparisons = list(study.comparisons.order_by("position"))
    arms = [comparisons[0].baseline, *(each.candidate for each in comparisons), *added]
    rng = np.random.default_rng(5)
    prompts = study.prompt_set.prompts.filter(index__lt=12)
    for image in Image.objects.filter(recipe=study.recipe, arm__in=arms, prompt__in=prompts):
        for metric, mean in (("clip:demo", 0.27), ("ImageReward", 0.4)):
            ImageScore.objects.create(image=image, metric=metric, value=mean + rng.normal(0, 0.05))
    plan = {
        "arms": [arm.pk for arm in arms], "prompts": "final", "count": 12, "metrics": ["clip"], "spaces": ["clip"],
        "reference": "scenes", "crop": False,
    }  # fmt: skip
    scoring = Scoring.objects.create(study=study, plan=plan)
    for place, arm in enumerate(arms):
        for metric in ("frechet:clip", "cmmd_unbiased:clip"):
            value = 40.0 + place
            ArmScore.objects.create(
                scoring=scoring, arm=arm, metric=metric, value=value, n=12, low=value - 3, high=value + 3
            )
    open_study(study)
    for n, name in enumerate(("grace", "alan", "joan")):
        rate_booklet(invite(study, name), lambda trial, n=n: (trial.position * (n + 2)) % 5 - 2)  # type: ignore[misc]
    return study


def opened(browser: Browser, live_server: LiveServer, study: Study, **options: Any) -> Page:
    client = Client()
    client.force_login(study.owner)
    context = browser.new_context(**options)
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/console/studies/{study.pk}/metrics/")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_is_accessible_and_fits(
    browser: Browser, live_server: LiveServer, study: Study, width: int, scheme: Any, tmp_path: Path
) -> None:
    page = opened(browser, live_server, study, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.get_by_text("Score more").click()
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": RULES["runOnly"]}})
    assert found.response["violations"] == [], found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / f"metrics-{width}-{scheme}.png", full_page=True)
    for image in page.locator("img.figure").all():
        assert image.evaluate("image => image.complete && image.naturalWidth > 0")
    page.context.close()


def test_the_files_say_what_the_page_says(browser: Browser, live_server: LiveServer, study: Study) -> None:
    page = opened(browser, live_server, study, viewport={"width": 1440, "height": 900}, accept_downloads=True)
    table = page.get_by_role("region", name="Table: Wins against the baseline")
    shown = [row.inner_text().split("\t") for row in table.locator("tbody tr").all()]
    with page.expect_download() as download:
        page.locator("section", has=page.locator("#wins")).get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert len(shown) == len(rows) == 2 * (2 + len(STRENGTHS))
    for cells, row in zip(shown, rows, strict=True):
        assert cells[0].strip() == row["metric"]
        assert [int(cell) for cell in cells[2:6]] == [int(row[name]) for name in ("n", "wins", "ties", "losses")]
        assert cells[6].strip().startswith(f"{100 * float(row['rate']):.0f} %")
    report = page.request.get(f"{live_server.url}/console/studies/{study.pk}/metrics.json").json()
    assert [each["n"] for each in report["wins"]] == [int(row["n"]) for row in rows]
    page.context.close()


def test_a_scoring_is_started_and_a_wrong_one_told_in_its_form(
    browser: Browser, live_server: LiveServer, study: Study
) -> None:
    page = opened(browser, live_server, study, viewport={"width": 1024, "height": 900})
    page.get_by_text("Score more").click()
    page.get_by_label("Metrics of single pictures").fill("beauty")
    page.get_by_role("button", name="Start the scoring").click()
    expect(page.get_by_text("there is no metric 'beauty'")).to_be_visible()
    page.get_by_label("Metrics of single pictures").fill("clip")
    page.get_by_role("button", name="Start the scoring").click()
    expect(page.get_by_text("has been started; a worker takes its parts")).to_be_visible()
    assert study.scorings.count() == 2
    page.context.close()
