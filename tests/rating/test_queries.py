"""How many queries the evaluator's requests take: as many at the first answer as at the last."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Rating
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.factories import make_ready_study
from tests.helpers.visitors import Visitor, answer

pytestmark = pytest.mark.django_db

TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")
A_RATING = 6  # evaluator, open trials, what is locked, the chain's end; the rating, the next trial's moment


def statements(captured: CaptureQueriesContext) -> list[str]:
    """What was sent to the database, transaction statements left out."""
    return [query["sql"] for query in captured if not query["sql"].startswith(TRANSACTION)]


@pytest.fixture
def visitor(client: Client) -> Visitor:
    """In front of two practice trials, twelve pairs, two checks and two repeats."""
    study = make_ready_study(practice_trials=2, attention_checks=2, repeats=2)
    open_study(study)
    grace = enrol(study, note="Grace")
    consent(grace)
    return Visitor(client, grace)


def test_a_rating_takes_the_same_few_queries_from_the_first_trial_to_the_last(visitor: Visitor) -> None:
    status: dict[str, Any] = visitor.status()
    counts = []
    while status["trial"]:
        given = answer(status["trial"])
        with CaptureQueriesContext(connection) as captured:
            status = visitor.post("rate", given).json()["next"]
        counts.append(len(statements(captured)))
    assert counts == [A_RATING + 1] * 2 + [A_RATING] * 16  # practice reads the fault that its feedback names
    kinds = set(Rating.objects.values_list("trial__kind", flat=True))
    assert kinds == {"practice", "main", "attention", "repeat"}


def test_an_answer_that_is_repeated_or_corrected_takes_few_more(visitor: Visitor) -> None:
    first = answer(visitor.status()["trial"])
    visitor.post("rate", first)
    second = answer({"id": first["trial"]}, choice=-2, corrects=first["key"])
    for given, most in ((first, 9), (second, 10), (second, 9)):
        with CaptureQueriesContext(connection) as captured:
            assert visitor.post("rate", given).status_code == 200
        assert len(statements(captured)) <= most


def test_looking_takes_two(client: Client, visitor: Visitor) -> None:
    with CaptureQueriesContext(connection) as captured:
        trial = visitor.status()["trial"]
    assert len(statements(captured)) == 2
    client.get(visitor.path)  # the first page reads what all pairs have in common, once a process
    with CaptureQueriesContext(connection) as captured:
        client.get(visitor.path)
    assert len(statements(captured)) == 2
    with CaptureQueriesContext(connection) as captured:
        client.get(trial["left"])
    assert len(statements(captured)) == 2
