"""Who gets which booklet, and what a full study says."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from django.db import connection

from evenhand.studies.lifecycle import LifecycleError, close_study, open_study
from evenhand.studies.models import Booklet, Evaluator, Study, Trial
from evenhand.studies.rating.enrolment import EnrolmentError, claim_booklet, consent, enrol
from tests.helpers.factories import make_draft, make_ready_study

pytestmark = pytest.mark.django_db


def test_consent_gives_one_booklet_and_is_remembered(study: Study, grace: Evaluator) -> None:
    first = consent(grace)
    assert consent(grace).pk == first.pk
    grace.refresh_from_db()
    assert grace.consented_at is not None
    assert len(grace.consent_text_sha256) == 64
    assert first.number == 0


def test_the_same_panel_id_is_the_same_person(study: Study) -> None:
    assert enrol(study, external_key="p1").pk == enrol(study, external_key="p1").pk


def test_nobody_is_invited_into_a_draft_or_a_closed_study(study: Study) -> None:
    close_study(study)
    with pytest.raises(EnrolmentError, match="closed"):
        enrol(study)
    with pytest.raises(EnrolmentError, match="draft"):
        enrol(make_draft(name="Later"))


@pytest.mark.parametrize("quota", [1, 3, 5])
def test_a_study_takes_exactly_its_quota(quota: int) -> None:
    study = make_ready_study(quota=quota, trials_per_evaluator=24)
    open_study(study)
    people = [enrol(study) for _ in range(quota + 1)]
    for person in people[:quota]:
        claim_booklet(person)
    with pytest.raises(EnrolmentError, match="all the participants"):
        claim_booklet(people[quota])
    assert Booklet.objects.filter(study=study).exclude(evaluator=None).count() == quota


def test_a_study_without_pairs_cannot_be_opened() -> None:
    study = make_draft()
    with pytest.raises(LifecycleError, match="no pairs"):
        open_study(study)
    study.refresh_from_db()
    assert study.state == Study.State.DRAFT


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_people_who_come_at_once_get_different_booklets_and_pairs_stay_balanced() -> None:
    study = make_ready_study(quota=12)
    open_study(study)
    people = [enrol(study) for _ in range(12)]
    barrier = threading.Barrier(6)
    errors: list[BaseException] = []

    def come(mine: list[Evaluator]) -> None:
        try:
            barrier.wait()
            for person in mine:
                consent(person)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=come, args=(people[i::6],)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    held = Booklet.objects.filter(study=study).exclude(evaluator=None).order_by("number")
    assert [booklet.number for booklet in held] == list(range(12))
    shown = Counter(Trial.objects.filter(booklet__in=held).values_list("pair", flat=True))
    assert max(shown.values()) - min(shown.values()) <= 1


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_one_person_twice_at_once_gets_one_booklet(study: Study, grace: Evaluator) -> None:
    barrier = threading.Barrier(4)
    got: list[int] = []

    def come() -> None:
        try:
            barrier.wait()
            got.append(consent(Evaluator.objects.get(pk=grace.pk)).pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == 1
    assert len(got) == 4
    assert Booklet.objects.filter(study=study).exclude(evaluator=None).count() == 1
