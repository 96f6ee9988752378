"""Between consent and the trials: instructions, practice, comprehension, breaks; and what ethics boards ask for."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from django.test import Client

from evenhand.generation.images import decode_png
from evenhand.studies.drafts import configuration_of
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import CheckPair, Evaluator, Rating, Study, Trial
from evenhand.studies.procedure import ComprehensionQuestion, parse_questions, questions_text
from evenhand.studies.rating.enrolment import enrol
from evenhand.studies.rating.statement import statement_of
from evenhand.studies.revision import revise
from tests.helpers.factories import make_ready_study
from tests.helpers.stored import image_path
from tests.helpers.visitors import Visitor, answer

pytestmark = pytest.mark.django_db
QUESTIONS = (
    ComprehensionQuestion("What do you compare?", ("Sounds", "Pictures"), 1),
    ComprehensionQuestion("May you skip?", ("Yes", "No"), 0),
)


def visitor_of(client: Client, **changes: Any) -> Visitor:
    study = make_ready_study(**changes)
    open_study(study)
    return Visitor(client, enrol(study, note="Grace"))


def right_choice(status: dict[str, dict[str, str]]) -> int:
    return 2 * (Trial.objects.get(public_id=status["trial"]["id"]).expected_choice or 0)


def test_the_whole_way_in_order(client: Client) -> None:
    visitor = visitor_of(client, introduction=True, practice_trials=2, comprehension=QUESTIONS, break_every=5)
    states = [visitor.status()["state"]]
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    while status["state"] != "finished":
        states.append(status["state"])
        if status["state"] in ("instructions", "break"):
            status = visitor.post("go-on", {}).json()["next"]
        elif status["state"] == "comprehension":
            status = visitor.post("comprehension", {"q0": "1", "q1": "0"}).json()["next"]
        else:
            status = visitor.post("rate", answer(status["trial"])).json()["next"]
    expected = ["consent", "instructions", "practice", "practice", "comprehension", *["trial"] * 5, "break"]
    assert states == [*expected, *["trial"] * 5, "break", "trial", "trial"]
    kinds = Rating.objects.order_by("sequence").values_list("trial__kind", flat=True)
    assert list(kinds) == ["practice"] * 2 + ["main"] * 12


def test_the_instructions_show_an_example_and_say_which_is_better(client: Client) -> None:
    visitor = visitor_of(client, introduction=True)
    visitor.post("consent", {"agree": "1"})
    page = client.get(visitor.path).content.decode()
    pair = visitor.evaluator.study.check_pairs.get()
    assert pair.prompt.text in page
    assert "the right one does not; we expect the answer “Left is much better”" in page
    assert "There is no right answer; tell us what you prefer." in page
    assert "ost people" not in page
    assert "Click a picture to see both enlarged." in page
    assert "in one place" not in page
    pictures = [decode_png(client.get(f"{visitor.path}example/{side}").content) for side in ("left", "right")]
    stored = [decode_png(image_path(image.sha256).read_bytes()) for image in (pair.better, pair.worse)]
    assert all(map(np.array_equal, pictures, stored))


def test_the_instructions_tell_what_the_study_has(client: Client) -> None:
    has = {"zoom": False, "flip": True, "comprehension": QUESTIONS, "both_bad_option": "Both are bad"}
    visitor = visitor_of(client, introduction=True, **has)
    visitor.post("consent", {"agree": "1"})
    page = client.get(visitor.path).content.decode()
    assert "enlarged" not in page
    assert "both in one place, by turns" in page
    assert "its key from 1 to 6." in page
    assert "Go to the questions" in page


SAID = {
    ("damaged", -1): "here is damage in the right picture; we expect the left picture to be preferred.",
    ("damaged", 1): "here is damage in the left picture; we expect the right picture to be preferred.",
    (
        "other_prompt",
        -1,
    ): "hat the text says is shown by the left picture, not by the right picture; we expect",
    (
        "other_prompt",
        1,
    ): "hat the text says is shown by the right picture, not by the left picture; we expect",
}


@pytest.mark.parametrize(("fault", "side"), list(SAID))
@pytest.mark.parametrize(("pressed", "right"), [(2, True), (1, True), (-1, False), (-2, False), (0, None)])
def test_practice_names_the_fault_and_where_it_stood(
    client: Client, fault: str, side: int, pressed: int, right: bool | None
) -> None:
    visitor = visitor_of(client, practice_trials=1)
    CheckPair.objects.update(fault=fault)
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    Trial.objects.filter(kind="practice").update(expected_choice=side)
    assert (status["state"], status["trial"]["position"], status["trial"]["of"]) == ("practice", 1, 1)
    reply = visitor.post("rate", answer(status["trial"], pressed * side)).json()
    assert reply["feedback"]["right"] is right
    said = SAID[fault, side]
    text = reply["feedback"]["text"]
    assert (said.partition(";")[0] if right else said) in text
    assert text.startswith("Yes: ") is (right is True)
    assert text.startswith("You preferred neither picture") is (right is None)
    lettered = text.replace("the left picture", "picture A").replace("the right picture", "picture B")
    assert reply["feedback"]["text_by_letters"] == lettered != text
    assert "ost people" not in reply["feedback"]["text"]
    assert reply["feedback"]["button"] == "Show the first pair"
    assert (reply["next"]["state"], reply["next"]["trial"]["position"]) == ("trial", 1)
    assert reply["next"]["trial"]["of"] == 12
    assert "feedback" not in visitor.post("rate", answer(reply["next"]["trial"])).json()


def test_where_nothing_is_right_practice_says_so(client: Client) -> None:
    visitor = visitor_of(client, practice_trials=2)
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    Trial.objects.filter(kind="practice").update(expected_choice=None)
    feedback = visitor.post("rate", answer(status["trial"], 1)).json()["feedback"]
    assert feedback == {
        "right": None,
        "text": "There is no right answer to this one: tell us what you prefer.",
        "text_by_letters": "There is no right answer to this one: tell us what you prefer.",
        "button": "Next practice pair",
    }


def test_practice_without_javascript_shows_its_feedback_on_a_page(client: Client) -> None:
    visitor = visitor_of(client, practice_trials=1)
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    sent = client.post(f"{visitor.path}rate/", answer(status["trial"], -right_choice(status)))
    assert sent.headers["Location"] == f"{visitor.path}feedback/"
    page = client.get(f"{visitor.path}feedback/").content.decode()
    assert "Look again" in page
    assert "we expect the" in page
    assert "Show the first pair" in page


def test_comprehension_gives_two_tries_and_then_thanks(client: Client) -> None:
    visitor = visitor_of(client, comprehension=QUESTIONS)
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    assert status["state"] == "comprehension"
    trial = Trial.objects.filter(booklet__evaluator=visitor.evaluator).order_by("position")[0]
    early = visitor.post("rate", answer({"id": str(trial.public_id)}))
    assert (early.status_code, early.json()["detail"]) == (409, "the questions about the instructions come first")
    assert visitor.post("comprehension", {"q0": "0", "q1": "0"}).json()["next"]["state"] == "comprehension"
    page = client.get(visitor.path).content.decode()
    assert "This is the last try." in page
    assert "1 of 2 answers was not right" in page
    assert "the study ends here for you" in page
    assert visitor.post("comprehension", {"q0": "1"}).json()["next"]["state"] == "screened_out"
    assert visitor.post("comprehension", {"q0": "1", "q1": "0"}).json()["next"]["state"] == "screened_out"
    assert visitor.post("rate", answer({"id": str(trial.public_id)})).status_code == 403
    assert Rating.objects.count() == 0


def test_the_second_try_shows_what_was_wrong_with_the_task_and_the_example(client: Client) -> None:
    visitor = visitor_of(client, comprehension=QUESTIONS, introduction=True)
    visitor.post("consent", {"agree": "1"})
    visitor.post("go-on", {})
    page = client.get(visitor.path).content.decode()
    assert "An answer" not in page
    assert "checked" not in page
    client.post(f"{visitor.path}comprehension/", {"q0": "1", "q1": "1", "key": hidden(page, "key")})
    page = client.get(visitor.path).content.decode()
    first, second = page.split("<fieldset")[1:]
    assert re.findall(r'value="(\d)" required\s+checked', first) == ["1"]  # what was right stays chosen
    assert "Your answer was not right" not in first
    assert "Your answer was not right" in second
    assert "checked" not in second
    assert "For each pair you read a text" in page
    assert CheckPair.objects.get(use="example").prompt.text in page


def test_a_wrong_answer_sent_twice_is_one_try(client: Client) -> None:
    visitor = visitor_of(client, comprehension=QUESTIONS)
    visitor.post("consent", {"agree": "1"})
    key = hidden(client.get(visitor.path).content.decode(), "key")
    for _ in range(3):
        client.post(f"{visitor.path}comprehension/", {"q0": "0", "q1": "0", "key": key})
        visitor.evaluator.refresh_from_db()
        assert visitor.evaluator.comprehension_tries == 1
    assert visitor.evaluator.comprehension_wrong == [0]
    again = hidden(client.get(visitor.path).content.decode(), "key")
    assert again != key
    for _ in range(2):
        reply = visitor.post("comprehension", {"q0": "1", "q1": "0", "key": again})
        assert reply.json()["next"]["state"] == "trial"
    refused = visitor.post("comprehension", {"key": "no key"})
    assert refused.status_code == 200  # the check is passed: nothing is read any more


def test_a_key_that_is_none_is_refused_and_no_try_is_used(client: Client) -> None:
    visitor = visitor_of(client, comprehension=QUESTIONS)
    visitor.post("consent", {"agree": "1"})
    refused = visitor.post("comprehension", {"q0": "0", "key": "no key"})
    assert (refused.status_code, refused.json()["detail"]) == (400, "key: give a UUID")
    visitor.evaluator.refresh_from_db()
    assert visitor.evaluator.comprehension_tries == 0


def test_who_came_from_a_panel_is_told_where_failing_leads(client: Client) -> None:
    visitor = visitor_of(client, comprehension=QUESTIONS)
    Evaluator.objects.update(external_key="abc")
    visitor.post("consent", {"agree": "1"})
    visitor.post("comprehension", {})
    assert "you return to Prolific" in client.get(visitor.path).content.decode()


def hidden(page: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_the_second_try_is_enough(client: Client) -> None:
    visitor = visitor_of(client, comprehension=QUESTIONS)
    visitor.post("consent", {"agree": "1"})
    visitor.post("comprehension", {})
    assert visitor.post("comprehension", {"q0": "1", "q1": "0"}).json()["next"]["state"] == "trial"


def test_a_break_is_ended_once_and_an_answer_in_it_is_no_error(client: Client) -> None:
    visitor = visitor_of(client, break_every=1, trials_per_evaluator=3)
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    assert visitor.post("rate", answer(status["trial"])).json()["next"] == {"state": "break", "trial": None}
    page = client.get(visitor.path).content.decode()
    assert "1 of 3 pairs are done" in page
    for _ in range(2):
        assert visitor.post("go-on", {}).json()["next"]["trial"]["position"] == 2
    visitor.evaluator.refresh_from_db()
    assert visitor.evaluator.breaks_taken == 1


def test_the_consent_page_shows_what_an_ethics_board_asks_for(client: Client) -> None:
    visitor = visitor_of(client, contact="ethics@example.org", approval="2026-17", minimum_age=18)
    page = client.get(visitor.path).content.decode()
    for text in ("ethics@example.org", "2026-17", "I am at least 18 years old."):
        assert text in page
    refused = visitor.post("consent", {"agree": "1"})
    assert (refused.status_code, refused.json()["reason"]) == (400, "consent_missing")
    assert visitor.post("consent", {"agree": "1", "of_age": "1"}).status_code == 200
    visitor.evaluator.refresh_from_db()
    assert visitor.evaluator.age_confirmed
    assert visitor.evaluator.consented_at is not None


def test_the_debriefing_comes_at_the_end(client: Client) -> None:
    visitor = visitor_of(client, debriefing="One picture of each pair was guided anew.", trials_per_evaluator=2)
    assert "guided anew" not in client.get(visitor.path).content.decode()
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    while status["state"] == "trial":
        status = visitor.post("rate", answer(status["trial"])).json()["next"]
    assert "guided anew" in client.get(visitor.path).content.decode()


def test_a_get_of_any_step_changes_nothing(client: Client) -> None:
    visitor = visitor_of(client, introduction=True, practice_trials=1, comprehension=QUESTIONS)
    visitor.post("consent", {"agree": "1"})
    before = list(Evaluator.objects.values()), list(Trial.objects.order_by("pk").values())
    for what in ("", "feedback/", "example/left", "?back=1"):
        client.get(f"{visitor.path}{what}")
    assert (list(Evaluator.objects.values()), list(Trial.objects.order_by("pk").values())) == before


def test_questions_are_written_one_a_line() -> None:
    text = "What do you compare? | Sounds | *Pictures\nMay you skip? | *Yes | No"
    assert parse_questions(text) == QUESTIONS
    assert parse_questions(questions_text(QUESTIONS)) == QUESTIONS
    with pytest.raises(ValueError, match="0 are marked"):
        parse_questions("May you skip? | Yes | No")
    with pytest.raises(ValueError, match="two options at least"):
        parse_questions("May you skip? | *Yes")


def test_trials_of_checks_and_repeats_look_like_any_other(client: Client, study: Study) -> None:
    other = make_ready_study(name="Corgis", attention_checks=2, repeats=2)
    open_study(other)
    visitor = Visitor(client, enrol(other))
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    kinds, bodies = [], []
    while status["state"] == "trial":
        kinds.append(Trial.objects.get(public_id=status["trial"]["id"]).kind)
        bodies.append({key: type(value) for key, value in status["trial"].items()})
        status = visitor.post("rate", answer(status["trial"])).json()["next"]
    assert sorted(kinds) == ["attention"] * 2 + ["main"] * 12 + ["repeat"] * 2
    assert all(body == bodies[0] for body in bodies)


def test_consent_is_to_the_version_that_was_read(client: Client, study: Study) -> None:
    visitor = Visitor(client, enrol(study))
    assert "Version 1 of this text" in client.get(visitor.path).content.decode()
    version = revise(study, consent="Another text.")
    page = client.get(visitor.path).content.decode()
    assert "Version 2 of this text" in page
    assert "Another text." in page
    visitor.post("consent", {"agree": "1"})
    visitor.evaluator.refresh_from_db()
    assert visitor.evaluator.version == version
    statement = statement_of(visitor.evaluator, configuration_of(study))
    assert statement.text == "Another text."
    assert visitor.evaluator.consent_text_sha256 == statement.sha256
