"""The gallery of pairs in a browser: pictures flipped and enlarged, a pair marked and used again."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.models import Exclusion, Study
from tests.helpers.browser_steps import log_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_pair_is_found_flipped_enlarged_marked_and_used_again(
    page: Page, live_server: LiveServer, study: Study
) -> None:
    log_in(page, live_server)
    page.goto(f"{live_server.url}/console/studies/{study.pk}/pairs/")
    page.get_by_label("Stratum").select_option("low")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("8 pairs found")).to_be_visible()
    page.locator(".pairs a.two").first.click()
    left, right = page.get_by_alt_text("Left picture"), page.get_by_alt_text("Right picture")
    expect(left).to_be_visible()
    expect(right).to_be_visible()
    beside = left.bounding_box()
    page.keyboard.press("f")
    expect(left).to_be_visible()
    expect(right).to_be_hidden()
    place = left.bounding_box()
    page.get_by_role("button", name="Flip").click()
    expect(right).to_be_visible()
    expect(left).to_be_hidden()
    assert right.bounding_box() == place != beside
    page.keyboard.press("z")
    expect(page.locator("[data-said]")).to_have_text("the right picture, 2 times as large")
    page.keyboard.press("Escape")
    expect(left).to_be_visible()
    expect(page.get_by_role("button", name="Zoom")).to_have_attribute("aria-pressed", "false")
    reason = page.get_by_label("Why is the pair unusable?")
    reason.fill("faz: torn")  # keys that are typed do nothing to the pictures
    expect(right).to_be_visible()
    page.get_by_role("button", name="Mark as unusable").click()
    expect(page.get_by_text("Unusable: faz: torn")).to_be_visible()
    assert Exclusion.objects.filter(lifted_at=None).count() == 1
    assert "stratum=low" in page.url
    page.get_by_role("button", name="Use the pair again").click()
    expect(page.get_by_role("button", name="Mark as unusable")).to_be_visible()
    assert Exclusion.objects.filter(lifted_at=None).count() == 0
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("2 of 8")).to_be_visible()
