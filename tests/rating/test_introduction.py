"""Between consent and the trials: instructions, practice, comprehension, breaks; and what ethics boards ask for."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from django.test import Client

from evenhand.generation.images import decode_png
from evenhand.studies.image_store import image_path
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Rating, Study, Trial
from evenhand.studies.procedure import ComprehensionQuestion, parse_questions, questions_text
from evenhand.studies.rating.enrolment import enrol
from evenhand.studies.revision import revise
from tests.helpers.factories import make_ready_study
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
    assert "Left is much better” here" in page
    pictures = [decode_png(client.get(f"{visitor.path}example/{side}").content) for side in ("left", "right")]
    stored = [decode_png(image_path(image.sha256).read_bytes()) for image in (pair.better, pair.worse)]
    assert all(map(np.array_equal, pictures, stored))


@pytest.mark.parametrize("sign", [1, -1])
def test_practice_tells_what_most_people_see(client: Client, sign: int) -> None:
    visitor = visitor_of(client, practice_trials=1)
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    assert (status["state"], status["trial"]["position"], status["trial"]["of"]) == ("practice", 1, 1)
    reply = visitor.post("rate", answer(status["trial"], sign * right_choice(status))).json()
    assert reply["feedback"]["right"] is (sign == 1)
    assert (reply["next"]["state"], reply["next"]["trial"]["position"]) == ("trial", 1)
    assert reply["next"]["trial"]["of"] == 12
    assert "feedback" not in visitor.post("rate", answer(reply["next"]["trial"])).json()


def test_practice_without_javascript_shows_its_feedback_on_a_page(client: Client) -> None:
    visitor = visitor_of(client, practice_trials=1)
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    sent = client.post(f"{visitor.path}rate/", answer(status["trial"], -right_choice(status)))
    assert sent.headers["Location"] == f"{visitor.path}feedback/"
    assert "Look again" in client.get(f"{visitor.path}feedback/").content.decode()


def test_comprehension_gives_two_tries_and_then_thanks(client: Client) -> None:
    visitor = visitor_of(client, comprehension=QUESTIONS)
    status = visitor.post("consent", {"agree": "1"}).json()["next"]
    assert status["state"] == "comprehension"
    trial = Trial.objects.filter(booklet__evaluator=visitor.evaluator).order_by("position")[0]
    early = visitor.post("rate", answer({"id": str(trial.public_id)}))
    assert (early.status_code, early.json()["detail"]) == (409, "the questions about the instructions come first")
    assert visitor.post("comprehension", {"q0": "0", "q1": "0"}).json()["next"]["state"] == "comprehension"
    assert "last try" in client.get(visitor.path).content.decode()
    assert visitor.post("comprehension", {"q0": "1"}).json()["next"]["state"] == "screened_out"
    assert visitor.post("comprehension", {"q0": "1", "q1": "0"}).json()["next"]["state"] == "screened_out"
    assert visitor.post("rate", answer({"id": str(trial.public_id)})).status_code == 403
    assert Rating.objects.count() == 0


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
    assert visitor.evaluator.consent_text_sha256 == hashlib.sha256(b"Another text.").hexdigest()
