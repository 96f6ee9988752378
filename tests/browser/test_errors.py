"""What the page says and does when the server, the connection or a picture fails, and when a tab is stale."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, Route, expect
from pytest_django.live_server_helper import LiveServer

from evenhand.studies.access import link_for
from evenhand.studies.lifecycle import close_study, pause_study, resume_study
from evenhand.studies.models import Evaluator, Rating, Skip, Study, Trial
from evenhand.studies.rating.enrolment import consent
from tests.helpers.browser_steps import ready

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def at_work(page: Page, live_server: LiveServer, grace: Evaluator) -> Page:
    """Grace, in front of her first pair."""
    consent(grace)
    page.goto(live_server.url + link_for(grace))
    ready(page)
    return page


def choices() -> list[int | None]:
    return list(Rating.objects.order_by("pk").values_list("choice", flat=True))


def press(page: Page, key: str) -> None:
    page.keyboard.press(key, delay=90)


def answers_with(status: int) -> Callable[[Route], None]:
    return lambda route: route.fulfill(status=status, content_type="text/html", body="<h1>Error</h1>")


def test_a_fault_of_the_server_a_silent_server_and_no_connection_are_told_apart(at_work: Page) -> None:
    status = at_work.locator(".status")
    at_work.route("**/rate/", answers_with(502))
    press(at_work, "4")
    expect(status).to_contain_text("The server has a problem")
    at_work.unroute("**/rate/")
    at_work.route("**/rate/", lambda route: route.abort("connectionrefused"))
    expect(status).to_contain_text("The server cannot be reached", timeout=10_000)
    at_work.unroute("**/rate/")
    at_work.context.set_offline(True)
    expect(status).to_contain_text("No connection", timeout=10_000)
    assert choices() == []
    at_work.context.set_offline(False)
    expect(at_work.get_by_text("2 of 12")).to_be_visible()
    assert choices() == [1]
    ready(at_work)
    expect(status).to_be_empty()
    expect(at_work.get_by_role("button", name="Try now")).to_be_hidden()


def test_a_repetition_comes_at_once_with_the_connection_with_a_look_and_with_a_press(at_work: Page) -> None:
    """After some attempts the pause is eight seconds; none of the three waits for its end."""
    sent: list[float] = []

    def fail(route: Route) -> None:
        sent.append(time.monotonic())
        route.fulfill(status=500, content_type="text/html", body="<h1>Error</h1>")

    at_work.route("**/rate/", fail)
    press(at_work, "2")
    now = at_work.get_by_role("button", name="Try now")
    for _ in range(3):
        expect(now).to_be_visible()
        now.click(delay=80)
        at_work.wait_for_timeout(120)
    for wake in (
        lambda: at_work.evaluate("window.dispatchEvent(new Event('online'))"),
        lambda: at_work.evaluate("document.dispatchEvent(new Event('visibilitychange'))"),
        lambda: now.click(delay=80),
    ):
        expect(now).to_be_visible()
        before = len(sent)
        wake()
        for _ in range(30):  # three seconds at most: a loaded machine takes its time, the pause is eight seconds
            at_work.wait_for_timeout(100)
            if len(sent) > before:
                break
        assert len(sent) == before + 1
    box = now.bounding_box()
    assert box is not None
    assert box["height"] >= 24
    at_work.unroute("**/rate/")
    now.click(delay=80)
    expect(at_work.get_by_text("2 of 12")).to_be_visible(timeout=2000)
    assert choices() == [-1]


def test_a_stale_tab_is_told_that_its_answer_was_not_taken(
    browser: Browser, at_work: Page, live_server: LiveServer, grace: Evaluator
) -> None:
    plain = browser.new_context(java_script_enabled=False).new_page()
    second = at_work.context.new_page()
    for tab in (plain, second):
        tab.goto(live_server.url + link_for(grace))
    ready(second)
    press(at_work, "1")
    expect(at_work.get_by_text("2 of 12")).to_be_visible()
    press(second, "5")
    dialog = second.get_by_role("dialog")
    expect(dialog).to_contain_text("was not taken")
    assert second.url.endswith(link_for(grace))  # a reload tells it no more
    press(second, "5")
    dialog.get_by_role("button", name="Show the next pair").click(delay=80)
    expect(second.get_by_text("2 of 12")).to_be_visible()
    ready(second)
    plain.get_by_role("button", name="Right is much better").click()
    expect(plain.get_by_text("was not taken")).to_be_visible()
    expect(plain.get_by_text("2 of 12")).to_be_visible()
    assert choices() == [-2]
    press(second, "5")
    expect(second.get_by_text("3 of 12")).to_be_visible()
    ready(second)
    expect(second.locator(".status")).to_be_empty()
    plain.context.close()


def test_a_stale_tab_at_the_end_is_told_so_too(at_work: Page, grace: Evaluator) -> None:
    """Everything was answered elsewhere meanwhile."""
    Trial.objects.filter(booklet__evaluator=grace).update(released=True)
    trial = Trial.objects.filter(booklet__evaluator=grace).order_by("position").first()
    assert trial is not None
    Skip.objects.create(trial=trial, reason="skip")
    press(at_work, "5")
    expect(at_work.get_by_text("was not taken")).to_be_visible()
    expect(at_work.locator("main.trial")).to_have_count(0)
    assert choices() == []


def test_an_answer_that_a_paused_study_does_not_take_is_kept_and_told(
    at_work: Page, live_server: LiveServer, study: Study, grace: Evaluator
) -> None:
    pause_study(study)
    press(at_work, "4")
    expect(at_work.get_by_role("heading", name="The study is paused")).to_be_visible()
    expect(at_work.get_by_text("Your last answer is kept in this browser")).to_be_visible()
    assert choices() == []
    Study.objects.filter(pk=study.pk).update(state=Study.State.COLLECTING)
    at_work.goto(live_server.url + link_for(grace))
    expect(at_work.get_by_text("2 of 12")).to_be_visible()
    assert choices() == [1]
    pause_study(study)
    at_work.goto(live_server.url + link_for(grace))
    expect(at_work.get_by_role("heading", name="The study is paused")).to_be_visible()
    expect(at_work.get_by_text("Your last answer is kept in this browser")).to_be_hidden()


def test_a_slow_picture_is_told_in_its_place_and_a_missing_one_can_be_tried_again(at_work: Page) -> None:
    middle = at_work.locator(".middle")
    expect(middle).to_be_hidden()
    asked: list[str] = []

    def fail(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=503, body="")

    at_work.route("**/left", fail)
    at_work.reload()
    expect(middle).to_contain_text("A picture could not be loaded")
    pictures, told = at_work.locator(".pictures").bounding_box(), middle.locator("p").bounding_box()
    assert pictures is not None
    assert told is not None
    assert told["x"] + told["width"] / 2 == pytest.approx(pictures["x"] + pictures["width"] / 2, abs=3)
    assert pictures["y"] < told["y"] < pictures["y"] + pictures["height"]
    before = len(asked)
    middle.get_by_role("button", name="Try again").click(delay=80)
    at_work.wait_for_timeout(400)
    assert len(asked) > before  # at once, beside the tries that come by themselves

    at_work.unroute("**/left", fail)
    ready(at_work, 10_000)
    expect(middle).to_be_hidden()

    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    at_work.route("**/left", hold)  # comes when the page has told of it, however slow this machine is
    at_work.reload(wait_until="commit")
    expect(middle).to_contain_text("loading")
    for route in held:
        route.continue_()
    at_work.unroute("**/left", hold)
    ready(at_work, 10_000)
    at_work.unroute_all(behavior="ignoreErrors")
    assert Rating.objects.count() == 0


def test_a_pair_whose_picture_never_comes_can_be_skipped(at_work: Page, grace: Evaluator) -> None:
    """And nothing of it comes back into the next pair."""
    first, second = Trial.objects.filter(booklet__evaluator=grace).order_by("position")[:2]
    at_work.route(re.compile(f"{first.public_id}/left"), lambda route: route.fulfill(status=404, body=""))
    at_work.reload()
    middle = at_work.locator(".middle")
    expect(middle).to_contain_text("A picture could not be loaded")
    middle.get_by_role("button", name="Skip this pair").click(delay=80)
    expect(at_work.get_by_text("2 of 12")).to_be_visible()
    ready(at_work)
    expect(middle).to_be_hidden()
    at_work.unroute_all(behavior="ignoreErrors")
    at_work.wait_for_timeout(2500)  # longer than the pause after which the missing picture was asked for again
    shown = [image.get_attribute("src") for image in at_work.locator(".pictures img").all()]
    assert all(str(second.public_id) in str(address) for address in shown)
    expect(at_work.locator("main.trial")).to_have_attribute("data-state", "ready")
    press(at_work, "4")
    expect(at_work.get_by_text("3 of 12")).to_be_visible()
    assert Skip.objects.get().trial_id == first.pk
    rating = Rating.objects.get()
    assert rating.trial_id == second.pk
    assert rating.elapsed_ms is not None
    assert rating.elapsed_ms > 2500


def test_a_report_outlives_a_lost_connection_and_a_reload(at_work: Page, grace: Evaluator) -> None:
    at_work.context.set_offline(True)
    at_work.get_by_text("Skip or report").click()
    at_work.get_by_label("What is wrong with it?").fill("cut off")
    at_work.get_by_role("button", name="Report it").click(delay=80)
    expect(at_work.locator(".status")).to_contain_text("No connection")
    at_work.context.set_offline(False)
    at_work.reload()
    expect(at_work.get_by_text("2 of 12")).to_be_visible()
    skip = Skip.objects.get()
    assert (skip.reason, skip.note, skip.trial.position) == ("report", "cut off", 1)


def keep_an_answer(page: Page, live_server: LiveServer, grace: Evaluator) -> None:
    """Let the browser keep an answer to the open trial, as a page does that finds no connection; close that page."""
    trial = page.locator("input[name=trial]").first.input_value()
    kept = {"trial": trial, "choice": "1", "key": str(uuid.uuid4()), "elapsed_ms": 900}
    page.goto(f"{live_server.url}/static/rating/rating.css")  # of the same origin, without a script
    store_in(page, grace, kept)


def store_in(page: Page, grace: Evaluator, kept: dict[str, Any]) -> None:
    name = f"evenhand:{link_for(grace)}"
    page.evaluate("([name, value]) => localStorage.setItem(name, value)", [name, json.dumps(kept)])


def names_kept(page: Page) -> list[str]:
    return page.evaluate("Object.keys(localStorage).filter((key) => key.includes('/e/'))")


def test_an_answer_that_was_kept_over_the_end_is_sent_from_its_page(
    at_work: Page, live_server: LiveServer, grace: Evaluator
) -> None:
    keep_an_answer(at_work, live_server, grace)
    Trial.objects.filter(booklet__evaluator=grace).update(released=True)  # others were given the pairs
    held: list[Route] = []
    at_work.route("**/rate/", lambda route: held.append(route))
    at_work.goto(live_server.url + link_for(grace))
    expect(at_work.get_by_text("Your last answer is still kept in this browser.")).to_be_visible()
    while not held:
        at_work.wait_for_timeout(20)
    assert choices() == []
    held.pop().continue_()
    expect(at_work.get_by_text("You have done 1 of 12.")).to_be_visible()
    expect(at_work.get_by_text("Your last answer is still kept in this browser.")).to_be_hidden()
    assert choices() == [1]
    assert names_kept(at_work) == []
    at_work.reload()
    expect(at_work.get_by_text("You have done 1 of 12.")).to_be_visible()
    assert choices() == [1]


def test_an_end_page_says_what_becomes_of_a_kept_answer_where_the_study_takes_none(
    at_work: Page, live_server: LiveServer, study: Study, grace: Evaluator
) -> None:
    keep_an_answer(at_work, live_server, grace)
    Trial.objects.filter(booklet__evaluator=grace).update(released=True)
    Evaluator.objects.filter(pk=grace.pk).update(finished_at=timezone.now())
    pause_study(study)
    at_work.goto(live_server.url + link_for(grace))
    expect(at_work.get_by_text("It will be sent when the study goes on")).to_be_visible()
    assert len(names_kept(at_work)) == 1
    resume_study(study)
    at_work.reload()
    expect(at_work.get_by_text("You have done 1 of 12.")).to_be_visible()
    store_in(at_work, grace, {"trial": str(uuid.uuid4()), "choice": "1", "key": str(uuid.uuid4())})
    close_study(study)
    at_work.reload()
    expect(at_work.get_by_text("Your last answer did not reach us in time.")).to_be_visible()
    assert choices() == [1]
