"""A study admin adds, changes and removes candidates, with and without JavaScript."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser
from pytest_django.live_server_helper import LiveServer

from evenhand.generation.guidance import ClassifierFree, SegmentationFree
from evenhand.generation.methods.perturbed_attention import PerturbedAttention
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Study
from tests.helpers.factories import make_admin, make_draft

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

BASELINE, FIRST = ClassifierFree(6.0), SegmentationFree(5.0)


@pytest.mark.parametrize("javascript", [True, False])
def test_a_candidate_s_way(browser: Browser, live_server: LiveServer, javascript: bool) -> None:
    study = make_draft(make_admin("ada"), baseline=BASELINE, candidates=(FIRST,))
    context = browser.new_context(viewport={"width": 1440, "height": 900}, java_script_enabled=javascript)
    page = context.new_page()
    page.goto(f"{live_server.url}/console/studies/{study.pk}/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click(delay=80)
    page.get_by_role("link", name="Candidates").click(delay=80)
    page.get_by_label("Its method").select_option("perturbed_attention")
    page.get_by_role("button", name="Fill in its settings").click(delay=80)
    strength = page.get_by_label("Strength s", exact=True)
    assert strength.input_value() == "3.0"
    strength.fill("4.5")
    page.get_by_label("Layers").fill("mid_block, up_blocks")
    page.get_by_role("button", name="Add the candidate").click(delay=80)
    added = PerturbedAttention(4.5, ("mid_block", "up_blocks"), opening=BASELINE)
    assert page.get_by_text(added.label(), exact=True).is_visible()
    page.get_by_role("region", name="Candidate 2").get_by_role("link", name="Change").click(delay=80)
    page.get_by_label("Text strength w").fill("7.5")
    page.get_by_role("button", name="Save the candidate").click(delay=80)
    page.get_by_role("region", name="Candidate 1").get_by_role("button", name="Remove").click(delay=80)
    assert page.get_by_text(f"Removed: {FIRST.label()}.").is_visible()
    changed = PerturbedAttention(4.5, ("mid_block", "up_blocks"), text_strength=7.5, opening=BASELINE)
    assert configuration_of(Study.objects.get(pk=study.pk)).candidates == (changed,)
    context.close()
