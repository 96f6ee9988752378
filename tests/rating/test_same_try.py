"""The same wrong answers to the questions about the task, sent twice at the same moment, are one try."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection
from django.test import Client

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator
from evenhand.studies.procedure import ComprehensionQuestion
from evenhand.studies.rating.enrolment import consent, enrol
from tests.helpers.factories import make_ready_study
from tests.helpers.visitors import Visitor

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

QUESTIONS = (ComprehensionQuestion("Which is asked for?", ("the left", "the better"), 1),)


def test_two_at_once_are_one_try() -> None:
    study = make_ready_study(comprehension=QUESTIONS, quota=5)
    open_study(study)
    for _ in range(5):
        person = enrol(study)
        consent(person)
        key, together = str(uuid.uuid4()), Barrier(2)

        def send(_: int, person: Evaluator = person, key: str = key, wait: Callable[[], int] = together.wait) -> int:
            try:
                wait()
                return Visitor(Client(), person).post("comprehension", {"q0": "0", "key": key}).status_code
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            statuses = list(pool.map(send, range(2)))
        person.refresh_from_db()
        assert person.comprehension_tries == 1, statuses
        assert person.screened_out_at is None
        assert all(status < 500 for status in statuses)
