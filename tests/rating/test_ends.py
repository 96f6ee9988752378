"""The ends: each has its sentence, contact, code and way back, and a completion code means work done."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client
from django.utils import timezone

from evenhand.studies.access import completion_code, enrolment_link, link_for
from evenhand.studies.console.evaluator_table import people_lines
from evenhand.studies.console.reconcile import people_here
from evenhand.studies.drafts import configuration_of
from evenhand.studies.exclusions import exclude
from evenhand.studies.lifecycle import close_study, open_study, pause_study
from evenhand.studies.models import Booklet, Evaluator, Study, Trial
from evenhand.studies.panels import EndReturn
from evenhand.studies.procedure import ComprehensionQuestion
from evenhand.studies.rating.ends import work_of
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.progress import progress_of
from evenhand.studies.rating.withdrawal import withdraw
from evenhand.studies.unusable_pairs import mark_unusable
from tests.helpers.factories import make_ready_study
from tests.helpers.visitors import Visitor, answer

pytestmark = pytest.mark.django_db
ENDS = ("partial", "screened_out", "full", "withdrawn", "paused", "closed", "too_small", "already")
RETURNS = tuple(EndReturn(end, f"CODE-{end.upper().replace('_', '-')}") for end in ENDS)
PANEL_SETTINGS: dict[str, Any] = {
    "completion_code": "WHOLE",
    "completion_url": "https://panel.example.org/done?cc={code}&who={id}",
    "end_returns": RETURNS,
    "contact": "study@example.org",
    "trials_per_evaluator": 6,
    "quota": 4,
}


def panel_study(**changes: Any) -> Study:
    study = make_ready_study(**(PANEL_SETTINGS | changes))
    open_study(study)
    return study


def from_panel(study: Study, name: str = "p 1/2") -> Evaluator:
    """Somebody who has come by the panel's link."""
    return enrol(study, external_ids={"PROLIFIC_PID": name, "SESSION_ID": f"s-{name}"}, external_key=name)


def fall_silent(person: Evaluator) -> None:
    """Move what somebody did a year back."""
    back = timedelta(days=366)
    Booklet.objects.filter(evaluator=person).update(claimed_at=F("claimed_at") - back)
    Trial.objects.filter(booklet__evaluator=person).exclude(shown_at=None).update(shown_at=F("shown_at") - back)
    person.ratings.update(rated_at=F("rated_at") - back)


def rate(visitor: Visitor, most: int = 1000) -> dict[str, Any]:
    """Answer what is open; return the last status."""
    status = visitor.status()
    while status["state"] == "trial" and most:
        status = visitor.post("rate", answer(status["trial"])).json()["next"]
        most -= 1
    return status


def page_of(client: Client, person: Evaluator) -> str:
    return client.get(link_for(person)).content.decode()


def codes_in(page: str) -> set[str]:
    return {code for code in ("WHOLE", *(each.code for each in RETURNS)) if code in page}


def heading(page: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert found
    return found[1].strip()


# ------------------------------------------------------------------------------ a code means work done


def test_nobody_gets_the_full_code_for_no_answer(client: Client) -> None:
    """A consents and answers nothing; B is given the pairs and finishes; A comes back."""
    study = panel_study(quota=1, lease_minutes=1)
    ada, bob = from_panel(study, "ada"), from_panel(study, "bob")
    consent(ada)
    fall_silent(ada)
    consent(bob)
    rate(Visitor(client, bob))
    assert codes_in(page_of(client, bob)) == {"WHOLE"}
    page = page_of(client, ada)
    assert codes_in(page) == {"CODE-PARTIAL"}
    assert "because you were away for long" in page
    assert "You have done 0 of 6." in page
    assert "panel.example.org/done?cc=CODE-PARTIAL&amp;who=ada" in page
    assert work_of(ada).whole is False


def test_whoever_comes_back_answers_what_is_left_and_gets_the_partial_end(client: Client) -> None:
    study = panel_study(quota=1, lease_minutes=1, trials_per_evaluator=12)
    ada, bob = from_panel(study, "ada"), from_panel(study, "bob")
    consent(ada)
    visitor = Visitor(client, ada)
    rate(visitor, 3)
    left = list(Trial.objects.filter(booklet__evaluator=ada).order_by("position")[3:])
    fall_silent(ada)
    Trial.objects.filter(pk__in=[trial.pk for trial in left[5:]]).update(released=True)  # as when others needed them
    assert visitor.status()["trial"]["position"] == 4
    assert rate(visitor)["state"] == "finished"
    page = page_of(client, ada)
    assert codes_in(page) == {"CODE-PARTIAL"}
    assert "You have done 8 of 12." in page
    assert "Your answers are stored" in page
    assert bob.finished_at is None


def test_a_late_answer_counts_as_work_and_while_its_slot_is_free(client: Client) -> None:
    study = panel_study(quota=1, lease_minutes=1)
    ada, bob = from_panel(study, "ada"), from_panel(study, "bob")
    consent(ada)
    visitor = Visitor(client, ada)
    open_page = visitor.status()["trial"]
    fall_silent(ada)
    consent(bob)
    assert visitor.post("rate", answer(open_page)).status_code == 200
    assert ada.ratings.get().slot is not None
    work = work_of(ada)
    assert (work.done, work.lost, work.answered, work.whole) == (1, 5, 1, False)
    assert rate(Visitor(client, bob))["state"] == "finished"
    assert work_of(bob).whole  # the pair that Ada answered first was no longer asked of him
    assert codes_in(page_of(client, bob)) == {"WHOLE"}


def test_skipped_and_reported_pairs_are_work_done_but_not_all_of_them(client: Client) -> None:
    study = panel_study()
    ada, bob = from_panel(study, "ada"), from_panel(study, "bob")
    for person, skips in ((ada, 5), (bob, 6)):
        consent(person)
        visitor = Visitor(client, person)
        for number in range(skips):
            given = {"trial": visitor.status()["trial"]["id"], "reason": ("skip", "report")[number % 2]}
            assert visitor.post("skip", given).status_code == 200
        rate(visitor)
    assert codes_in(page_of(client, ada)) == {"WHOLE"}
    page = page_of(client, bob)
    assert codes_in(page) == {"CODE-PARTIAL"}
    assert "You skipped every pair." in page


def test_of_two_questions_a_pair_both_must_be_done(client: Client) -> None:
    from evenhand.studies.criteria import Criterion

    study = panel_study(criteria=(Criterion(), Criterion(name="match", question="Which fits?")))
    ada = from_panel(study, "ada")
    consent(ada)
    rate(Visitor(client, ada), 3)
    assert (work_of(ada).asked, work_of(ada).done, work_of(ada).whole) == (6, 1, True)
    assert rate(Visitor(client, ada))["state"] == "finished"
    assert (work_of(ada).done, work_of(ada).answered) == (6, 12)
    assert codes_in(page_of(client, ada)) == {"WHOLE"}


def test_somebody_whose_pairs_were_freed_is_not_told_that_they_were_away(client: Client) -> None:
    study = panel_study(quota=1)
    ada, bob = from_panel(study, "ada"), from_panel(study, "bob")
    consent(ada)
    rate(Visitor(client, ada), 2)
    exclude(ada, reason="pressed one key", actor=study.owner, free=True)
    consent(bob)
    page = page_of(client, ada)
    assert codes_in(page) == {"CODE-PARTIAL"}
    assert "were away" not in page
    assert "You have done 2 of 6." in page


# ------------------------------------------------------------------------------ every end


def end_pages(client: Client) -> dict[str, str]:
    """The page of each end of somebody from a panel."""
    pages = {}
    question = ComprehensionQuestion("Why?", ("a", "b"), 0)
    study = panel_study(quota=2, comprehension=(question,))
    ada = from_panel(study, "ada")
    consent(ada)
    for _ in range(2):
        client.post(f"{link_for(ada)}comprehension/", {"q0": "1"})
    pages["screened_out"] = page_of(client, ada)
    bob = from_panel(study, "bob")
    consent(bob)
    withdraw(bob)
    pages["withdrawn"] = page_of(client, bob)
    eve = from_panel(study, "eve")
    pause_study(study)
    pages["paused"] = page_of(client, eve)
    close_study(study)
    pages["closed"] = page_of(client, eve)
    return pages


def test_each_end_has_its_sentence_code_contact_and_way_back(client: Client) -> None:
    headings = {
        "screened_out": "Thank you for your time",
        "withdrawn": "You have left the study",
        "paused": "The study is paused",
        "closed": "The study has ended",
    }
    for end, page in end_pages(client).items():
        code = f"CODE-{end.upper().replace('_', '-')}"
        assert heading(page) == headings[end]
        assert codes_in(page) == {code}, end
        assert "study@example.org" in page
        assert f"https://panel.example.org/done?cc={code}&amp;who=" in page
        assert "Go back to Prolific" in page


def test_the_code_and_the_id_are_encoded_in_the_address(client: Client) -> None:
    study = panel_study(completion_code="A&B #1")
    person = from_panel(study, "p 1/2")
    consent(person)
    rate(Visitor(client, person))
    page = page_of(client, person)
    assert "done?cc=A%26B%20%231&amp;who=p%201%2F2" in page
    assert heading(page) == "One step left: go back to Prolific"
    assert page.index("Finish on Prolific") < page.index("A&amp;B #1") < page.index("you can close this page")


def test_an_end_has_an_address_of_its_own_where_the_study_gives_one(client: Client) -> None:
    study = panel_study(end_returns=(EndReturn("withdrawn", url="https://panel.example.org/left/{id}"),))
    person = from_panel(study, "ada")
    withdraw(person)
    assert 'href="https://panel.example.org/left/ada"' in page_of(client, person)
    withdraw(person, delete=True)  # the id is gone, and the address with it
    page = page_of(client, person)
    assert "panel.example.org" not in page
    assert "There is no code for this" in page


def test_an_address_that_takes_no_code_shows_none(client: Client) -> None:
    study = panel_study(completion_code="", completion_url="https://sona.example.org/credit?code={id}")
    person = from_panel(study, "417")
    consent(person)
    rate(Visitor(client, person))
    page = page_of(client, person)
    assert 'href="https://sona.example.org/credit?code=417"' in page
    assert completion_code(person, "") not in page
    assert "Your code" not in page


def test_whoever_came_by_a_personal_link_is_shown_no_code(client: Client) -> None:
    study = panel_study()
    person = enrol(study, note="Grace")
    consent(person)
    rate(Visitor(client, person))
    page = page_of(client, person)
    assert codes_in(page) == set()
    assert heading(page) == "Thank you"
    assert "You can close this page." in page


def test_a_full_study_says_so_before_the_consent(client: Client) -> None:
    study = panel_study(quota=1)
    ada, early = from_panel(study, "ada"), from_panel(study, "early")
    consent(ada)
    link = enrolment_link(study)
    for page in (
        page_of(client, early),
        client.get(link, {"PROLIFIC_PID": "late"}).content.decode(),
        client.post(link, {"PROLIFIC_PID": "late"}).content.decode(),
        client.post(f"{link_for(early)}consent/", {"agree": "1"}).content.decode(),
    ):
        assert heading(page) == "The study is full"
        assert codes_in(page) == {"CODE-FULL"}
        assert "study@example.org" in page
    assert codes_in(client.get(link).content.decode()) == set()  # nobody from a panel
    assert Visitor(client, early).status() == {"state": "full", "trial": None}
    assert not Evaluator.objects.filter(external_key="late").exists()
    withdraw(ada)
    assert "I have read this" in page_of(client, early)  # Ada's pairs are left behind
    assert client.get(link, {"PROLIFIC_PID": "late"}).status_code == 200


def test_the_panel_takes_people_back_at_once_and_only_once(client: Client) -> None:
    study = panel_study(redirect_at_once=True)
    person = from_panel(study, "ada")
    consent(person)
    rate(Visitor(client, person))
    page = page_of(client, person)
    assert '<meta http-equiv="refresh" content="5;url=https://panel.example.org/done?cc=WHOLE&amp;who=ada">' in page
    assert "in five seconds" in page
    Evaluator.objects.filter(pk=person.pk).update(finished_at=timezone.now() - timedelta(minutes=1))
    page = page_of(client, person)
    assert "refresh" not in page
    assert "Finish on Prolific" in page


def test_nobody_else_is_taken_anywhere(client: Client) -> None:
    study = panel_study(redirect_at_once=True)
    invited = enrol(study, note="Grace")
    consent(invited)
    rate(Visitor(client, invited))
    assert "refresh" not in page_of(client, invited)
    withdrawn = from_panel(study, "bob")
    withdraw(withdrawn)
    assert "refresh" not in page_of(client, withdrawn)


def test_the_page_of_a_small_window_carries_its_code_and_only_where_the_study_asks(client: Client) -> None:
    study = panel_study(smallest_picture=400)
    person = from_panel(study, "ada")
    for page in (page_of(client, person), client.get(enrolment_link(study), {"PROLIFIC_PID": "x1"}).content.decode()):
        assert codes_in(page) == {"CODE-TOO-SMALL"}
        assert re.search(r'id="too-small"[^>]*hidden\s+data-smallest="400"', page)
        assert "data-computer" not in page
    other = make_ready_study(name="Any window")
    open_study(other)
    assert "too-small" not in page_of(client, enrol(other))
    assert configuration_of(other).smallest_picture == 0


def told(study: Study, client: Client, person: Evaluator) -> tuple[set[str], str, bool]:
    """The codes that somebody is shown, the code that the console lists, whether a panel's list has them as done."""
    person = Evaluator.objects.get(pk=person.pk)
    [line] = people_lines(study, configuration_of(study), [person])
    [here] = [each for each in people_here(study) if each.pk == person.pk]
    assert line.code == here.code
    return codes_in(page_of(client, person)), line.code, here.complete


def test_what_others_are_given_after_the_end_is_no_loss_anywhere(client: Client) -> None:
    study = panel_study(quota=1, lease_minutes=1)
    ada, bob, eve = (from_panel(study, name) for name in ("ada", "bob", "eve"))
    consent(ada)
    visitor = Visitor(client, ada)
    open_page = visitor.status()["trial"]
    fall_silent(ada)
    consent(bob)
    visitor.post("rate", answer(open_page))  # late, from the page that was open: Bob is not asked it any more
    rate(Visitor(client, bob))
    assert told(study, client, bob) == ({"WHOLE"}, "WHOLE", True)
    withdraw(ada)
    consent(eve)  # is given the pair that Ada had answered
    assert Trial.objects.filter(booklet__evaluator=bob, released=True).count() == 1
    assert told(study, client, bob) == ({"WHOLE"}, "WHOLE", True)


def test_whoever_has_nothing_left_to_do_has_finished_for_the_admin_too(client: Client) -> None:
    study = panel_study()
    ada = from_panel(study, "ada")
    consent(ada)
    rate(Visitor(client, ada), 5)
    last = progress_of(ada).trial
    assert last is not None
    assert last.pair is not None
    mark_unusable(last.pair, reason="torn", actor=study.owner)
    assert told(study, client, ada) == ({"WHOLE"}, "", False)  # nobody has looked since: she may still be at it
    assert told(study, client, ada) == ({"WHOLE"}, "WHOLE", True)
    close_study(study)
    assert codes_in(page_of(client, ada)) == {"WHOLE"}
