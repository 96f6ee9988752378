"""How large the pictures are: one size for all pairs in one window, whole device pixels, nothing cut off."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import link_for
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Arm, Evaluator, Image, Prompt, Rating, Recipe, Study
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.browser_steps import ready
from tests.helpers.factories import make_admin, make_ready_study

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WINDOWS = [  # width, height, device pixels a CSS pixel, touch
    (320, 568, 2, True),
    (390, 844, 3, True),
    (844, 390, 3, True),
    (720, 450, 2, False),  # 1440×900 zoomed to 200 %
    (768, 512, 1, False),
    (1024, 768, 1, False),
    (1152, 720, 1.25, False),
    (1440, 900, 1, False),
    (3840, 2160, 1, False),
]
LENGTHS = (5, 80, 400)  # characters of prompts
SHOTS = os.environ.get("EVENHAND_SHOTS")  # a folder for pictures of the pages, to be looked at


def picture(width: int, height: int) -> Any:
    def draw(prompt: Prompt, arm: Arm) -> np.ndarray:
        rng = np.random.default_rng([prompt.index, int(arm.fingerprint[:8], 16)])
        coarse = rng.integers(0, 256, (height // 16, width // 16, 3)).repeat(16, axis=0).repeat(16, axis=1)
        return coarse.astype(np.uint8)

    return draw


def study_of(width: int, height: int, **changes: Any) -> Study:
    study = make_ready_study(owner=make_admin("ada"), draw=picture(width, height), quota=20, **changes)
    assert study.recipe_id is not None
    Recipe.objects.filter(pk=study.recipe_id).update(width=width, height=height)
    for i, prompt in enumerate(study.prompt_set.prompts.order_by("index")):
        length = LENGTHS[i % len(LENGTHS)]
        text = f"{i} " + "a painting of a small red house " * 20
        Prompt.objects.filter(pk=prompt.pk).update(text=text[:length].strip())
    assert Image.objects.filter(width=width).exists()
    open_study(study)
    return study


def somebody(study: Study) -> Evaluator:
    person = enrol(study)
    consent(person)
    return person


def boxes(page: Page) -> dict[str, Any]:
    """What is where: the visible pictures, prompt, options and foot, the window, and how far the page scrolls."""
    return page.evaluate(
        """() => {
        const box = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
        const seen = (e) => e.checkVisibility({visibilityProperty: true});
        const all = (s) => [...document.querySelectorAll(s)].filter(seen);
        const tight = (e) => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1;
        const d = document.documentElement;
        return {
            layout: document.querySelector('main').dataset.layout,
            frames: [...document.querySelectorAll('.frame')].map(box), shown: all('.frame').length,
            prompt: box(document.querySelector('#prompt')), options: all('.option').map(box),
            question: box(document.querySelector('.question')), foot: box(document.querySelector('.foot')),
            cut: all('.option').filter(tight).length,
            scroll: [d.scrollWidth - innerWidth, d.scrollHeight - innerHeight], ratio: devicePixelRatio,
            smooth: Boolean(document.querySelector('.smooth')),
            marks: all('figcaption').map(box), tabs: all('.tabs button').map(box),
        };
    }"""
    )


def overlap(one: list[float], other: list[float]) -> bool:
    return one[0] < other[2] - 0.5 and other[0] < one[2] - 0.5 and one[1] < other[3] - 0.5 and other[1] < one[3] - 0.5


def check(found: dict[str, Any], width: int, height: int, window: tuple[int, int], pixels: tuple[int, int]) -> None:
    left, right = found["frames"]
    sizes = [(box[2] - box[0], box[3] - box[1]) for box in (left, right)]
    assert sizes[0] == pytest.approx(sizes[1], abs=0.02)
    device = sizes[0][0] * found["ratio"]
    if device >= width - 0.5 and not (found["ratio"] >= 2 and found["smooth"]):
        assert device / width == pytest.approx(round(device / width), abs=0.01)  # whole device pixels
    assert sizes[0][0] / sizes[0][1] == pytest.approx(width / height, rel=0.01)
    assert found["scroll"][0] <= 0
    assert found["scroll"][1] <= 0
    assert found["cut"] == 0
    parts = [found["prompt"], *found["options"], found["foot"], *found["tabs"], *found["marks"]]
    parts += [left, right] if found["shown"] == 2 else [left]
    for i, one in enumerate(parts):
        assert -0.5 <= one[0] <= one[2] <= window[0] + 0.5
        assert -0.5 <= one[1] <= one[3] <= window[1] + 0.5
        assert not any(overlap(one, other) for other in parts[i + 1 :])
    block = [found["prompt"], left, right, *found["options"]]
    for one, other in pairwise(sorted(block, key=lambda box: box[1])):
        assert other[1] - one[3] < 64  # the block stays together
    rows = {round(option[1]) for option in found["options"][:5]}
    assert len(rows) == (5 if found["layout"] == "side" else 1)
    assert all(option[3] - option[1] >= 40 for option in found["options"])
    assert pixels == pytest.approx((sizes[0][0], sizes[0][1]), abs=0.02) if pixels[0] else True


@pytest.mark.parametrize(("width", "height"), [(64, 64), (512, 512), (768, 512), (1024, 1024)])
def test_all_pairs_have_one_size_in_every_window(
    browser: Browser, live_server: LiveServer, width: int, height: int
) -> None:
    study = study_of(width, height)
    for w, h, ratio, touch in WINDOWS:
        context = browser.new_context(
            viewport={"width": w, "height": h}, device_scale_factor=ratio, has_touch=touch,
            color_scheme="dark" if w == 1024 else "light",
        )  # fmt: skip
        page = context.new_page()
        page.goto(live_server.url + link_for(somebody(study)))
        sizes = set()
        for n in range(1, 4):
            expect(page.get_by_text(f"{n} of 12")).to_be_visible()
            expect(page.locator("main.trial")).to_have_attribute("data-state", re.compile("looking|ready"))
            found = boxes(page)
            try:
                check(found, width, height, (w, h), (0, 0))
            finally:
                if SHOTS:
                    page.screenshot(path=f"{SHOTS}/{width}x{height}-{w}x{h}-{n}.png")
            left = found["frames"][0]
            sizes.add((round(left[2] - left[0], 2), round(left[3] - left[1], 2)))
            if found["layout"] == "single":
                page.get_by_role("button", name="Picture B").click()
            ready(page)
            page.keyboard.press("3")
        assert len(sizes) == 1, sizes  # whether the text is short or long
        context.close()


def test_the_layout_follows_the_windows_shape(browser: Browser, live_server: LiveServer) -> None:
    study = study_of(512, 512)
    found = {}
    for w, h, ratio in [(844, 390, 3), (390, 844, 3), (1440, 900, 1), (720, 450, 2), (3840, 2160, 1)]:
        context = browser.new_context(viewport={"width": w, "height": h}, device_scale_factor=ratio)
        page = context.new_page()
        page.goto(live_server.url + link_for(somebody(study)))
        expect(page.locator("main.trial")).to_have_attribute("data-state", re.compile("looking|ready"))
        here = boxes(page)
        left = here["frames"][0]
        found[w] = (here["layout"], (left[2] - left[0]) * ratio)
        context.close()
    assert found[844][0] in ("side", "row")
    assert found[844][1] >= 511.9  # of 390 CSS pixels' height, at three device pixels each
    assert found[390] == ("single", pytest.approx(1024, abs=0.1))  # nearly the full width
    assert found[1440] == ("row", 512)
    assert found[720][1] >= 0.95 * found[1440][1]  # browser zoom of 200 % does not make pictures smaller
    assert found[3840] == ("row", 1024)


@pytest.mark.parametrize(("width", "height"), [(512, 512), (768, 512), (1024, 1024)])
def test_the_size_that_is_told_before_the_consent_is_the_one_that_comes(
    browser: Browser, live_server: LiveServer, width: int, height: int
) -> None:
    """Whoever falls short is told before, by an estimate of the trial page: no more than an eighth beside it."""
    study = study_of(width, height, smallest_picture=100)
    told, came = [], []
    for w, h, ratio, touch in WINDOWS:
        context = browser.new_context(viewport={"width": w, "height": h}, device_scale_factor=ratio, has_touch=touch)
        page = context.new_page()
        page.goto(live_server.url + link_for(enrol(study, note="Grace")))
        told.append(int(page.locator("#too-small").get_attribute("data-shown") or 0))
        page.goto(live_server.url + link_for(somebody(study)))
        expect(page.locator("main.trial")).to_have_attribute("data-state", re.compile("looking|ready"))
        left = boxes(page)["frames"][0]
        came.append(left[2] - left[0])
        context.close()
    assert told == pytest.approx(came, rel=0.125)


def test_how_a_pair_was_seen_is_stored(browser: Browser, live_server: LiveServer) -> None:
    person = somebody(study_of(512, 512, flip=True))
    context = browser.new_context(viewport={"width": 1440, "height": 900}, device_scale_factor=1.25)
    page = context.new_page()
    page.goto(live_server.url + link_for(person))
    ready(page)
    page.keyboard.press("z")
    page.keyboard.down("f")
    page.wait_for_timeout(100)
    page.keyboard.up("f")
    page.get_by_role("button", name="Right is slightly better").click()
    expect(page.get_by_text("2 of 12")).to_be_visible()
    ready(page)
    page.keyboard.press("2")
    expect(page.get_by_text("3 of 12")).to_be_visible()
    first, second = (rating.viewport for rating in Rating.objects.order_by("pk"))
    assert (first["zoomed"], first["flipped"], first["pointer"]) == (True, True, "mouse")
    assert (second["zoomed"], second["flipped"], second["pointer"]) == (False, False, "key")
    assert (first["viewport_width"], first["device_pixel_ratio"], first["layout"]) == (1440, 1.25, "row")
    assert (first["picture_width_device"], first["picture_height_device"]) == (512, 512)
    assert (first["picture_width"], first["picture_height"]) == (409.6, 409.6)
    context.close()


def test_on_a_phone_both_pictures_must_have_been_seen(browser: Browser, live_server: LiveServer) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(live_server.url + link_for(somebody(study_of(512, 512))))
    main = page.locator("main.trial")
    expect(main).to_have_attribute("data-layout", "single")
    expect(page.get_by_text("Look at both pictures")).to_be_visible()
    page.get_by_role("button", name="A is much better").tap(force=True)  # it is shut
    page.wait_for_timeout(600)
    assert Rating.objects.count() == 0
    page.locator(".pictures").tap()  # to the other one
    expect(page.get_by_role("button", name="Picture B")).to_have_attribute("aria-pressed", "true")
    ready(page)
    page.get_by_role("button", name="A is much better").tap()
    expect(page.get_by_text("2 of 12")).to_be_visible()
    expect(page.get_by_role("button", name="Picture A")).to_have_attribute("aria-pressed", "true")
    rating = Rating.objects.get()
    assert (rating.choice, rating.viewport["pointer"], rating.viewport["layout"]) == (-2, "touch", "single")
    context.close()


def transform(page: Page) -> list[list[float]]:
    return page.evaluate(
        "[...document.querySelectorAll('.frame img')].map((image) => "
        "{ const m = new DOMMatrix(getComputedStyle(image).transform); return [m.a, m.e, m.f]; })"
    )


def test_both_pictures_are_zoomed_at_the_same_place_and_panned(page: Page, live_server: LiveServer) -> None:
    page.goto(live_server.url + link_for(somebody(study_of(1024, 1024))))
    ready(page)
    box = page.locator("[data-side=right]").bounding_box()
    assert box is not None
    shown = box["width"]
    page.mouse.click(box["x"] + 0.25 * shown, box["y"] + 0.5 * shown)
    one, other = transform(page)
    assert one == other
    assert one[0] == pytest.approx(1024 / shown, rel=1e-3)  # one device pixel for a pixel of the file
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 230, steps=5)
    page.mouse.up()
    dragged = transform(page)
    assert dragged[0] == dragged[1]
    assert dragged[0][1] == pytest.approx(one[1] - 60, abs=1)
    page.keyboard.press("ArrowRight")
    assert transform(page)[0][1] < dragged[0][1]
    page.keyboard.press("z")
    assert transform(page)[0][0] == pytest.approx(2 * 1024 / shown, rel=1e-3)
    page.keyboard.press("Escape")
    assert transform(page)[0] == [1, 0, 0]
    page.keyboard.press("z")
    page.keyboard.press("2")
    expect(page.get_by_text("2 of 12")).to_be_visible()
    assert transform(page) == [[1, 0, 0], [1, 0, 0]]  # gone for the next pair


def test_flipping_shows_both_in_one_place_by_turns(page: Page, live_server: LiveServer) -> None:
    page.goto(live_server.url + link_for(somebody(study_of(512, 512, flip=True))))
    ready(page)
    apart = boxes(page)["frames"]
    page.keyboard.down("f")
    page.wait_for_timeout(150)
    first = boxes(page)
    assert first["frames"][0] == first["frames"][1] != apart[0]
    assert first["shown"] == 1
    shown = page.locator(".pictures")
    expect(shown).to_have_attribute("data-shown", "left")
    expect(shown).to_have_attribute("data-shown", "right", timeout=1500)
    page.keyboard.up("f")
    assert boxes(page)["frames"] == apart
    page.locator(".flip").dispatch_event("pointerdown")
    assert boxes(page)["shown"] == 1
    page.locator(".flip").dispatch_event("pointerup")
    assert boxes(page)["shown"] == 2


def test_a_study_without_zoom_or_flip_has_neither(page: Page, live_server: LiveServer) -> None:
    page.goto(live_server.url + link_for(somebody(study_of(512, 512, zoom=False))))
    ready(page)
    page.locator("[data-side=left]").click()
    page.keyboard.press("z")
    page.keyboard.press("f")
    assert transform(page) == [[1, 0, 0], [1, 0, 0]]
    assert page.locator(".zoom, .flip").count() == 0
