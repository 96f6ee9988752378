"""Measure in a real Chromium how long one rater waits until a trial can be answered."""

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
THINKING_MS = 1500  # between two answers; the page fetches the next trials meanwhile
# What the page loads at once; its other modules come when they are needed.
LOADED_AT_ONCE = ("shut", "trial", "delivery", "pictures", "layout", "size")
# Times by the page's own clock: when a key was pressed, when a trial's pictures were visible, and when its options
# opened. They stay shut for a while on purpose (``options_delay_ms``), and a pressed option and the plain surround are
# seen before the next pair comes.
WATCH = """
    window.pressed = [];
    window.visible = [];
    window.ready = [];
    addEventListener("keydown", () => window.pressed.push(performance.now()), true);
    new MutationObserver((changes) => {
        for (const change of changes) {
            const state = change.target.dataset.state;
            if (state === change.oldValue) continue;
            if (state === "looking" && window.visible.length === window.ready.length) {
                window.visible.push(performance.now());
            }
            if (state === "ready" && window.ready.length < window.visible.length) window.ready.push(performance.now());
        }
    }).observe(document, { attributes: true, attributeOldValue: true, attributeFilter: ["data-state"], subtree: true });
"""


def textured(prompt: Prompt, arm: Arm) -> np.ndarray:
    """Make a 512×512 picture whose PNG is as large as a photograph's (about 400 kB)."""
    rng = np.random.default_rng([prompt.index, arm.pk])
    coarse = rng.integers(0, 256, (16, 16, 3)).repeat(SIDE // 16, axis=0).repeat(SIDE // 16, axis=1)
    grain = rng.integers(-12, 13, (SIDE, SIDE, 3))
    pixels: np.ndarray = np.clip(coarse + grain, 0, 255).astype(np.uint8)
    return pixels


def measure_browser(url: str) -> dict[str, Any]:
    """Measure milliseconds from the page's request to the first visible pair, and from a key to the next one."""
    from playwright.sync_api import sync_playwright

    links, sizes = prepare(VISITS)
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        first_times, next_times = [], []
        for link in links:
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            first_time, times = visit(page, f"{url}{link}")
            first_times.append(first_time)
            next_times += times
            page.context.close()
        scripts = script_bytes(browser.version)
        browser.close()
    next_times.sort()
    return {
        **scripts,
        "picture_kb": statistics.median(sizes) / 1000,
        "first_pair_visible_ms": statistics.median(
            first_times[1:]
        ),  # the first visit also starts Chromium's network service
        "first_visit_ms": first_times[0],
        "next_pair_visible_ms": {
            "median": statistics.median(next_times),
            "p95": next_times[int(0.95 * len(next_times))],
            "max": next_times[-1],
            "trials": len(next_times),
        },
    }


def prepare(people: int) -> tuple[list[str], list[int]]:
    """Open a study and return links of people at their first trial, and the pictures' sizes in bytes."""
    from benchmarks.invitations import invited
    from evenhand.studies.lifecycle import open_study
    from evenhand.studies.models import Image
    from tests.helpers.factories import make_ready_study
    from tests.helpers.stored import image_path

    study = make_ready_study(name="Browser", draw=textured)
    open_study(study)
    hashes = Image.objects.filter(width=SIDE).values_list("sha256", flat=True)
    return invited(study, people), [image_path(sha256).stat().st_size for sha256 in hashes]


def visit(page: Page, link: str) -> tuple[float, list[float]]:
    """Answer one person's booklet by keyboard; return the first pair's milliseconds, and every next one's."""
    page.add_init_script(WATCH)
    page.goto(link, wait_until="commit")
    page.wait_for_function("window.ready.length > 0")
    first_time = page.evaluate("window.visible[0]")
    next_times = []
    for number in range(1, 12):
        page.wait_for_timeout(THINKING_MS)
        page.keyboard.press(str(1 + number % 5))
        page.wait_for_function(f"window.ready.length > {number}")
        next_times.append(page.evaluate("window.visible.at(-1) - window.pressed.at(-1)"))
    return first_time, next_times


def script_bytes(chromium: str) -> dict[str, Any]:
    """Return the bytes of the page's own JavaScript as it is served, and of what is loaded at once, and compressed."""
    from django.conf import settings

    files = {file.name.split(".")[0]: file for file in sorted((Path(settings.STATIC_ROOT) / "rating").glob("*.*.js"))}
    at_once = [files[name] for name in LOADED_AT_ONCE]
    return {
        "chromium": chromium,
        "javascript_bytes": {name: file.stat().st_size for name, file in files.items()},
        "javascript_at_once": {
            "plain": sum(file.stat().st_size for file in at_once),
            "gzip": sum(file.with_name(f"{file.name}.gz").stat().st_size for file in at_once),
        },
    }
