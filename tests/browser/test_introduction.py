"""Before the trials, in a browser: the example as WebP, practice without preference, questions that are sent twice."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page, Response, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.generation.images import decode_png
from evenhand.studies.access import link_for
from evenhand.studies.image_store import store_picture
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Image, Rating
from evenhand.studies.procedure import parse_questions
from evenhand.studies.rating.enrolment import enrol
from tests.helpers.browser_steps import ready, until
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.stored import image_path

pytestmark = pytest.mark.django_db(transaction=True)
PIXELS = """image => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data);
}"""


@pytest.fixture
def grace() -> Evaluator:
    study = make_ready_study(
        owner=make_admin("ada"), introduction=True, practice_trials=1,
        comprehension=parse_questions("What do you compare? | Sounds | *Pictures\nMay you skip? | *Yes | No"),
    )  # fmt: skip
    for sha256 in Image.objects.values_list("sha256", flat=True):
        store_picture(image_path(sha256).read_bytes())
    open_study(study)
    return enrol(study, note="Grace")


def test_from_the_instructions_to_the_second_try(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    served: list[Response] = []
    page.on("response", lambda response: served.append(response) if "/example/" in response.url else None)
    page.goto(live_server.url + link_for(grace))
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="An example")).to_be_visible()
    check_webp(page, served, grace)

    page.get_by_role("button", name="Start practice").click()
    ready(page)
    page.keyboard.press("3")
    expect(page.get_by_text("You preferred neither picture, and this time there is a difference.")).to_be_visible()
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Questions about the task")).to_be_visible()
    page.get_by_label("Sounds").check()
    page.get_by_label("Yes").check()
    send_twice(page)
    expect(page.get_by_text("1 of 2 answers was not right")).to_be_visible()
    grace.refresh_from_db()
    assert (grace.comprehension_tries, grace.screened_out_at) == (1, None)
    expect(page.get_by_label("Yes")).to_be_checked()
    expect(page.get_by_label("Sounds")).not_to_be_checked()
    expect(page.get_by_label("Pictures")).to_have_accessible_description(
        "Your answer was not right. Please choose again."
    )
    expect(page.get_by_role("heading", name="The example")).to_be_visible()
    page.get_by_label("Pictures").check()
    send_twice(page)
    expect(page.get_by_text("1 of 12")).to_be_visible()
    grace.refresh_from_db()
    assert grace.comprehension_passed_at is not None
    assert Rating.objects.get().choice == 0


def check_webp(page: Page, served: list[Response], grace: Evaluator) -> None:
    """Both as WebP of one length, with the pixels of the stored PNG."""
    until(page, "[...document.images].every((image) => image.complete)")
    assert [response.header_value("content-type") for response in served] == ["image/webp"] * 2
    assert len({len(response.body()) for response in served}) == 1
    pair = grace.study.check_pairs.select_related("better", "worse").get(use="example")
    for place, image in enumerate((pair.better, pair.worse)):
        shown = np.array(page.locator(".example img").nth(place).evaluate(PIXELS)).reshape(64, 64, 4)
        assert np.array_equal(shown[..., :3], decode_png(image_path(image.sha256).read_bytes()))


def send_twice(page: Page) -> None:
    """A double click, as a hand makes it."""
    page.get_by_role("button", name="Send my answers").hover()
    for pause in (60, 110):
        page.mouse.down()
        page.wait_for_timeout(pause)
        page.mouse.up()
