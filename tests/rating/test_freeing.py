"""Places are freed while answers come in: none of the freed person's answers fills one afterwards."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.test import Client

from evenhand.studies.exclusions import exclude, lift
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Rating
from evenhand.studies.rating import chain
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.identity import store_visit
from tests.helpers.factories import make_ready_study
from tests.helpers.visitors import Visitor, answer

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


def in_threads(*jobs: object) -> list[BaseException]:
    """Begin all jobs together; return what they raised."""
    barrier, errors = threading.Barrier(len(jobs)), []

    def begin(job: object) -> None:
        try:
            barrier.wait()
            job()  # type: ignore[operator]
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=begin, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_no_answer_fills_a_place_that_was_freed_at_the_same_moment() -> None:
    study = make_ready_study(quota=2)
    open_study(study)
    grace = enrol(study)
    consent(grace)

    def go_on() -> None:
        visitor = Visitor(Client(), Evaluator.objects.get(pk=grace.pk))
        status = visitor.status()
        while status["state"] == "trial":
            status = visitor.post("rate", answer(status["trial"])).json()["next"]

    def free() -> None:
        exclude(grace, reason="pressed one key", actor=study.owner, free=True)

    assert in_threads(go_on, free) == []
    assert Rating.objects.filter(evaluator=grace).count() == 12
    assert not Rating.objects.filter(evaluator=grace).exclude(slot=None).exists()
    assert in_threads(*[lambda: lift(grace, actor=study.owner)] * 3) == []
    assert Rating.objects.filter(evaluator=grace, slot=None).count() == 0
    assert study.events.filter(action="exclusion lifted").count() == 1
    assert list(chain.faults(study)) == []


def test_later_visits_at_once_are_all_stored() -> None:
    study = make_ready_study()
    open_study(study)
    ada = enrol(study, external_ids={"PROLIFIC_PID": "5f2d"}, external_key="5f2d")
    visits = [{"PROLIFIC_PID": "5f2d", "SESSION_ID": f"se{i % 4}"} for i in range(8)]
    jobs = [lambda ids=ids: store_visit(Evaluator.objects.get(pk=ada.pk), ids) for ids in visits]
    assert in_threads(*jobs) == []
    ada.refresh_from_db()
    assert sorted(visit["ids"]["SESSION_ID"] for visit in ada.later_ids) == ["se0", "se1", "se2", "se3"]
