"""Several criteria, a sixth option and reasons: what the page gets, and what is stored."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client

from evenhand.studies.criteria import PRESETS, Criterion
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Rating, Skip, Study, Trial
from evenhand.studies.rating import chain
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.results.report import study_report
from tests.helpers.factories import make_ready_study
from tests.helpers.ratings import queries_of
from tests.helpers.visitors import Visitor, answer

pytestmark = pytest.mark.django_db

BAD = "Both are bad"


def visiting(client: Client, **changes: Any) -> Visitor:
    """Somebody in front of the first trial of a study of their own."""
    settings: dict[str, Any] = {"criteria": (Criterion(), PRESETS["appeal"])}
    study = make_ready_study(**(settings | changes))
    open_study(study)
    person = enrol(study)
    consent(person)
    person.refresh_from_db()
    return Visitor(client, person)


@pytest.mark.database
def test_criteria_are_asked_one_after_the_other_of_the_same_pictures(client: Client) -> None:
    visitor = visiting(client)
    first = visitor.status()["trial"]
    assert (first["part"], first["parts"], first["position"], first["of"]) == (1, 2, 1, 12)
    assert first["criterion"]["question"] == Criterion().question
    second = visitor.post("rate", answer(first)).json()["next"]["trial"]
    assert (second["part"], second["parts"], second["position"], second["of"]) == (2, 2, 1, 12)
    assert (second["left"], second["right"]) == (first["left"], first["right"])
    assert second["id"] != first["id"]
    assert second["criterion"]["options"][0] == {
        "choice": "-2", "text": "Left looks much better", "letters": "A looks much better",
    }  # fmt: skip
    third = visitor.post("rate", answer(second)).json()["next"]["trial"]
    assert (third["part"], third["position"]) == (1, 2)
    assert third["left"] != first["left"]


def test_the_button_after_practice_says_that_another_question_comes(client: Client) -> None:
    visitor = visiting(client, practice_trials=1)
    first = visitor.status()["trial"]
    told = visitor.post("rate", answer(first)).json()
    assert told["feedback"]["button"] == "Next question"
    told = visitor.post("rate", answer(told["next"]["trial"])).json()
    assert told["feedback"]["button"] == "Show the first pair"


def test_a_hidden_text_is_not_sent(client: Client) -> None:
    visitor = visiting(client, criteria=(PRESETS["appeal"], PRESETS["match"]))
    shown = visitor.status()["trial"]
    pair = Trial.objects.get(public_id=shown["id"]).pair
    assert pair is not None
    prompt = pair.prompt.text
    assert shown["prompt"] == ""
    assert prompt not in client.get(visitor.path).content.decode()
    matched = visitor.post("rate", answer(shown)).json()["next"]["trial"]
    assert matched["prompt"] == prompt


def test_every_criterion_of_every_pair_gets_its_answer(client: Client) -> None:
    visitor = visiting(client, attention_checks=2, repeats=1)
    step, count = visitor.status(), 0
    while step["state"] == "trial":
        step = visitor.post("rate", answer(step["trial"])).json()["next"]
        count += 1
    assert (step["state"], count) == ("finished", 2 * (12 + 2 + 1))
    report = study_report(Study.objects.get())
    found = [(each["criterion"], each["number"], each["n"]) for each in report["comparisons"]]
    assert [name for name, *_ in found] == ["overall", "overall", "appeal", "appeal"]
    assert sum(n for *_, n in found) == 24
    assert report["comparisons"][2]["finding"].startswith("Appeal: ")


def test_whoever_skips_is_asked_nothing_more_about_these_pictures(client: Client) -> None:
    visitor = visiting(client, criteria=(Criterion(), PRESETS["match"], PRESETS["appeal"]))
    first = visitor.status()["trial"]
    second = visitor.post("rate", answer(first)).json()["next"]["trial"]
    reported = {"trial": second["id"], "reason": "report", "note": "not fit"}
    after = visitor.post("skip", reported).json()["next"]["trial"]
    assert (after["part"], after["position"]) == (1, 2)
    assert visitor.post("skip", reported).status_code == 200
    assert list(Skip.objects.order_by("trial__position").values_list("reason", "note")) == [
        ("report", "not fit"),
        ("skip", ""),
    ]


@pytest.mark.database
def test_an_answer_is_corrected_by_its_own_criterion(client: Client) -> None:
    visitor = visiting(client, both_bad_option=BAD)
    first = visitor.status()["trial"]
    second = visitor.post("rate", answer(first)).json()["next"]["trial"]
    visitor.post("rate", answer(second, "both_bad"))
    back = client.get(visitor.path, {"back": "1"}, headers={"Accept": "application/json"}).json()
    assert (back["trial"]["id"], back["choice"]) == (second["id"], "both_bad")
    assert (back["trial"]["left"], back["trial"]["part"]) == (first["left"], 2)
    corrected = visitor.post("rate", answer(second, 2, corrects=back["corrects"]))
    assert corrected.json()["next"]["trial"]["position"] == 2
    assert Rating.objects.get(trial__public_id=second["id"], superseded=False).both_bad is False


def test_both_are_bad_is_stored_apart_and_counts_as_no_preference(client: Client) -> None:
    visitor = visiting(client, criteria=(Criterion(),), both_bad_option=BAD)
    shown = visitor.status()["trial"]
    assert shown["criterion"]["options"][5] == {"choice": "both_bad", "text": BAD, "letters": BAD}
    sent = answer(shown, "both_bad")
    assert visitor.post("rate", sent).status_code == 200
    assert visitor.post("rate", sent).status_code == 200  # the same answer again
    assert visitor.post("rate", sent | {"choice": "0"}).status_code == 409
    rating = Rating.objects.get()
    assert (rating.choice, rating.both_bad) == (0, True)
    [result] = [each for each in study_report(rating.version.study)["comparisons"] if each["n"]]
    assert result["counts"]["none"] == 1
    assert result["both_bad"] == {"n": 1, "share": 1.0}
    assert BAD in client.get(visitor.path).content.decode()


def test_what_a_study_does_not_ask_is_refused(client: Client) -> None:
    visitor = visiting(client, criteria=(Criterion(),), reasons=("Blurry",))
    shown = visitor.status()["trial"]
    for sent in (
        answer(shown, "both_bad"),
        answer(shown, reasons=["Ugly"]),
        answer(shown, reasons=["Blurry", "Blurry"]),
        answer(shown, remark="I like it"),
        answer(shown, 3),
    ):
        assert visitor.post("rate", sent).status_code == 400
    assert not Rating.objects.exists()


@pytest.mark.database
def test_reasons_and_remarks_are_part_of_the_record(client: Client) -> None:
    visitor = visiting(client, criteria=(Criterion(),), reasons=("Blurry", "Wrong text"), ask_remark=True)
    shown = visitor.status()["trial"]
    assert shown["asks"] == {"reasons": ["Blurry", "Wrong text"], "remark": True}
    sent = answer(shown, reasons=["Wrong text"], remark="no dog")
    assert visitor.post("rate", sent).status_code == 200
    assert visitor.post("rate", sent | {"remark": "a dog"}).status_code == 409
    rating = Rating.objects.get()
    assert (rating.reasons, rating.remark) == (["Wrong text"], "no dog")
    study = rating.version.study
    assert list(chain.faults(study)) == []
    Rating.objects.filter(pk=rating.pk).update(remark="a dog")
    assert [fault.problem for fault in chain.faults(study)] == ["its content is not what was written"]


def test_a_share_of_the_trials_asks_for_reasons(client: Client) -> None:
    visitor = visiting(client, criteria=(Criterion(),), reasons=("Blurry",), reasons_share=0.5, practice_trials=1)
    assert visitor.status()["trial"]["asks"] is None  # practice never does
    step, asked = visitor.status(), 0
    for number in range(13):
        trial = Trial.objects.get(public_id=step["trial"]["id"])
        draw = number * 769 % 10_000  # public ids are random; here they are spread evenly
        Trial.objects.filter(pk=trial.pk).update(public_id=uuid.UUID(int=draw))
        step = visitor.status()
        asked += step["trial"]["asks"] is not None
        assert (step["trial"]["asks"] is not None) == (number > 0 and draw < 5000)
        step = visitor.post("rate", answer(step["trial"])).json()["next"]
    assert 0 < asked < 12


@pytest.mark.database
def test_runs_are_announced_once_each(client: Client) -> None:
    visitor = visiting(client, criteria_order="runs", break_every=6)
    step, seen = visitor.status(), []
    while step["state"] != "finished":
        if step["state"] in ("question", "break"):
            seen.append(step["state"])
            page = client.get(visitor.path).content.decode()
            assert step["state"] == "break" or any(question in page for question in questions())
            assert visitor.status() == step  # looking changes nothing
            step = visitor.post("go-on", {}).json()["next"]
        else:
            seen.append(step["trial"]["criterion"]["question"])
            step = visitor.post("rate", answer(step["trial"])).json()["next"]
    first, second = dict.fromkeys(name for name in seen if name in questions())
    assert seen == ["question", *[first] * 6, "break", "question", *[second] * 6]


def questions() -> list[str]:
    return [Criterion().question, PRESETS["appeal"].question]


def test_more_criteria_cost_no_more_queries(client: Client) -> None:
    def cost(visitor: Visitor) -> int:
        visitor.post("rate", answer(visitor.status()["trial"]))
        sent = answer(visitor.status()["trial"])
        return queries_of(lambda: visitor.post("rate", sent))

    one = cost(visiting(client, criteria=(Criterion(),), name="One"))
    assert cost(visiting(client, name="Two")) == one <= 8
