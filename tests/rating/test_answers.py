"""Answers: stored once, in turn, corrected openly, whatever arrives twice or at the same time."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from evenhand.studies.lifecycle import close_study, pause_study
from evenhand.studies.models import Evaluator, Rating, Study, Trial
from evenhand.studies.rating import answers, chain
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.progress import progress_of
from tests.helpers.ratings import record_rating

pytestmark = pytest.mark.django_db


def open_trial(evaluator: Evaluator) -> Trial:
    trial = progress_of(evaluator).trial
    assert trial is not None
    return trial


def test_an_answer_is_stored_as_it_was_seen(rater: Evaluator) -> None:
    trial = open_trial(rater)
    rating = record_rating(evaluator=rater, trial_id=trial.public_id, choice=-2, key=uuid.uuid4(), elapsed_ms=900)
    assert (rating.choice, rating.elapsed_ms, rating.counted, rating.superseded) == (-2, 900, True, False)
    assert rating.version_id == rater.study.current_version_id
    assert rating.preference == (2 if trial.candidate_on_left else -2)


def test_the_same_key_is_the_same_answer(rater: Evaluator) -> None:
    trial, key = open_trial(rater), uuid.uuid4()
    first = record_rating(evaluator=rater, trial_id=trial.public_id, choice=1, key=key, elapsed_ms=5)
    assert record_rating(evaluator=rater, trial_id=trial.public_id, choice=1, key=key, elapsed_ms=5).pk == first.pk
    with pytest.raises(answers.Conflict, match="same key"):
        record_rating(evaluator=rater, trial_id=trial.public_id, choice=2, key=key, elapsed_ms=5)
    assert Rating.objects.count() == 1


def test_a_second_answer_must_say_what_it_corrects(rater: Evaluator) -> None:
    trial, key = open_trial(rater), uuid.uuid4()
    first = record_rating(evaluator=rater, trial_id=trial.public_id, choice=1, key=key)
    with pytest.raises(answers.Conflict, match="an answer already"):
        record_rating(evaluator=rater, trial_id=trial.public_id, choice=2, key=uuid.uuid4())
    second = record_rating(evaluator=rater, trial_id=trial.public_id, choice=2, key=uuid.uuid4(), corrects=key)
    first.refresh_from_db()
    assert first.superseded
    assert second.corrects_id == first.pk
    with pytest.raises(answers.Conflict, match="no such answer to correct"):
        record_rating(evaluator=rater, trial_id=trial.public_id, choice=0, key=uuid.uuid4(), corrects=key)


def test_trials_are_answered_in_turn(rater: Evaluator) -> None:
    later = Trial.objects.get(booklet__evaluator=rater, position=3)
    with pytest.raises(answers.Conflict, match="turn has not come"):
        record_rating(evaluator=rater, trial_id=later.public_id, choice=0, key=uuid.uuid4())
    assert Rating.objects.count() == 0


def test_another_persons_trial_is_unknown(study: Study, rater: Evaluator) -> None:
    heidi = enrol(study, note="Heidi")
    consent(heidi)
    with pytest.raises(answers.UnknownTrial):
        record_rating(evaluator=rater, trial_id=open_trial(heidi).public_id, choice=0, key=uuid.uuid4())


@pytest.mark.parametrize("choice", [-3, 3, 100])
def test_choices_outside_the_scale_are_refused(rater: Evaluator, choice: int) -> None:
    with pytest.raises(answers.AnswerError, match=f"not {choice}"):
        record_rating(evaluator=rater, trial_id=open_trial(rater).public_id, choice=choice, key=uuid.uuid4())


def test_the_database_itself_refuses_what_the_code_would(rater: Evaluator) -> None:
    trial = open_trial(rater)
    common = {"trial": trial, "evaluator": rater, "version_id": rater.study.current_version_id, "sha256": "0" * 64}
    values = common | {"rated_at": timezone.now(), "sequence": 1}
    with pytest.raises(IntegrityError, match="choice_within_scale"), transaction.atomic():
        Rating.objects.create(choice=3, key=uuid.uuid4(), **values)
    Rating.objects.create(choice=1, key=uuid.uuid4(), **values)
    # SQLite names the column of a partial unique index, PostgreSQL the constraint
    with (
        pytest.raises(IntegrityError, match=r"one_current_rating_per_trial|studies_rating.trial_id"),
        transaction.atomic(),
    ):
        Rating.objects.create(choice=0, key=uuid.uuid4(), **(values | {"sequence": 2}))
    place = r"one_rating_per_place_in_chain|studies_rating.sequence"
    with pytest.raises(IntegrityError, match=place), transaction.atomic():
        Rating.objects.create(choice=0, key=uuid.uuid4(), superseded=True, **values)


def test_a_paused_or_closed_study_takes_nothing_but_repeats(study: Study, rater: Evaluator) -> None:
    trial, key = open_trial(rater), uuid.uuid4()
    record_rating(evaluator=rater, trial_id=trial.public_id, choice=1, key=key)
    following = open_trial(rater)
    pause_study(study)
    rater = Evaluator.objects.get(pk=rater.pk)
    assert progress_of(rater).state == "paused"
    with pytest.raises(answers.NotCollecting, match="paused"):
        record_rating(evaluator=rater, trial_id=following.public_id, choice=1, key=uuid.uuid4())
    # an answer whose acknowledgement was lost is still acknowledged
    assert record_rating(evaluator=rater, trial_id=trial.public_id, choice=1, key=key).key == key
    close_study(study)
    assert progress_of(Evaluator.objects.get(pk=rater.pk)).state == "closed"


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("same_key", [True, False])
def test_answers_that_arrive_at_once_leave_one(rater: Evaluator, same_key: bool) -> None:
    trial, shared = open_trial(rater), uuid.uuid4()
    barrier = threading.Barrier(6)
    outcomes: list[str] = []

    def send() -> None:
        try:
            person = Evaluator.objects.select_related("study").get(pk=rater.pk)
            barrier.wait()
            key = shared if same_key else uuid.uuid4()
            record_rating(evaluator=person, trial_id=trial.public_id, choice=1, key=key)
            outcomes.append("stored")
        except answers.Conflict:
            outcomes.append("conflict")
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == (["stored"] * 6 if same_key else ["conflict"] * 5 + ["stored"])
    assert Rating.objects.filter(trial=trial).count() == 1


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_an_answer_that_comes_while_the_study_is_closed_is_refused(
    study: Study, rater: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits until the root is recorded; a root without it would be a fault."""
    person, trial, real = Evaluator.objects.select_related("study").get(pk=rater.pk), open_trial(rater), chain.root

    def send() -> str:
        try:
            record_rating(evaluator=person, trial_id=trial.public_id, choice=1, key=uuid.uuid4())
        except answers.NotCollecting:
            return "refused"
        finally:
            connection.close()
        return "stored"

    with ThreadPoolExecutor(1) as pool:
        sent: list[Future[str]] = []

        def root(of: Study) -> str:
            found = real(of)
            sent.append(pool.submit(send))
            wait(sent, timeout=0.5)
            return found

        monkeypatch.setattr(chain, "root", root)
        close_study(study)
        assert sent[0].result() == "refused"
    assert study.ratings_root == real(study)
