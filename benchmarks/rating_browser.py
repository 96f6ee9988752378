"""One rater in a real Chromium: how long until a trial can be answered."""

from __future__ import annotations

import os
import shutil
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from evenhand.studies.models import Arm, Prompt

SIDE, VISITS = 512, 4
THINKING_MS = 1500  # between two answers; what comes next is fetched meanwhile
# Moments by the page's own clock: when a key went down, and when the options of a trial became active.
WATCH = """
    window.pressed = [];
    window.ready = [];
    addEventListener("keydown", () => window.pressed.push(performance.now()), true);
    new MutationObserver((changes) => {
        if (changes.at(-1).target.dataset.state === "ready") window.ready.push(performance.now());
    }).observe(document, { attributes: true, attributeFilter: ["data-state"], subtree: true });
"""


def textured(prompt: Prompt, arm: Arm) -> np.ndarray:
    """A 512×512 picture whose PNG is as large as a photograph's (about 400 kB)."""
    rng = np.random.default_rng([prompt.index, arm.pk])
    coarse = rng.integers(0, 256, (16, 16, 3)).repeat(SIDE // 16, axis=0).repeat(SIDE // 16, axis=1)
    grain = rng.integers(-12, 13, (SIDE, SIDE, 3))
    pixels: np.ndarray = np.clip(coarse + grain, 0, 255).astype(np.uint8)
    return pixels


def measure_browser(url: str) -> dict[str, Any]:
    """Milliseconds from the request of the page to the first active options, and from a key to the next ones."""
    from playwright.sync_api import sync_playwright

    links, sizes = prepare(VISITS)
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        firsts, nexts = [], []
        for link in links:
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            first, following = visit(page, f"{url}{link}")
            firsts.append(first)
            nexts += following
            page.context.close()
        scripts = script_bytes(browser.version)
        browser.close()
    ordered = sorted(nexts)
    return {
        **scripts,
        "picture_kb": statistics.median(sizes) / 1000,
        "first_trial_ms": statistics.median(firsts[1:]),  # the first visit also starts the browser's network service
        "first_visit_ms": firsts[0],
        "next_trial_ms": {
            "median": statistics.median(ordered),
            "p95": ordered[int(0.95 * len(ordered))],
            "max": ordered[-1],
            "trials": len(ordered),
        },
    }


def prepare(people: int) -> tuple[list[str], list[int]]:
    """Links of people before their first trial, and the pictures' sizes in bytes."""
    from benchmarks.invitations import invited
    from evenhand.studies.image_store import image_path
    from evenhand.studies.lifecycle import open_study
    from evenhand.studies.models import Image
    from tests.helpers.factories import make_ready_study

    study = make_ready_study(name="Browser", draw=textured)
    open_study(study)
    hashes = Image.objects.filter(width=SIDE).values_list("sha256", flat=True)
    return invited(study, people), [image_path(sha256).stat().st_size for sha256 in hashes]


def visit(page: Page, link: str) -> tuple[float, list[float]]:
    """One person's booklet by keyboard: the first trial's milliseconds, and every next one's."""
    page.add_init_script(WATCH)
    page.goto(link, wait_until="commit")
    page.wait_for_function("window.ready.length > 0")
    first = page.evaluate("window.ready[0]")
    following = []
    for number in range(1, 12):
        page.wait_for_timeout(THINKING_MS)
        page.keyboard.press(str(1 + number % 5))
        page.wait_for_function(f"window.ready.length > {number}")
        following.append(page.evaluate("window.ready.at(-1) - window.pressed.at(-1)"))
    return first, following


def script_bytes(chromium: str) -> dict[str, Any]:
    """The size of the page's own JavaScript."""
    from django.conf import settings

    files = sorted((Path(settings.BASE_DIR) / "static" / "rating").glob("*.js"))
    return {"chromium": chromium, "javascript_bytes": {file.name: file.stat().st_size for file in files}}
