"""The chain of ratings: what was written is what stands there, whatever is changed, removed or asked to be deleted."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from evenhand.studies import doctor
from evenhand.studies.access import link_for
from evenhand.studies.lifecycle import LifecycleError, close_study
from evenhand.studies.models import Evaluator, Rating, Study
from evenhand.studies.rating import chain
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.progress import progress_of
from evenhand.studies.rating.withdrawal import withdraw
from evenhand.studies.results.report import study_report
from evenhand.studies.safekeeping import backup
from tests.helpers.ratings import record_rating

pytestmark = pytest.mark.django_db


def rate_some(person: Evaluator, count: int) -> list[Rating]:
    made = []
    for n in range(count):
        trial = progress_of(person).trial
        assert trial is not None
        made.append(
            record_rating(
                evaluator=person,
                trial_id=trial.public_id,
                choice=n % 5 - 2,
                key=uuid.uuid4(),
                elapsed_ms=1000 + n,
                viewport={"viewport_width": 1440},
            )
        )
    return made


@pytest.fixture
def rated(study: Study, rater: Evaluator) -> list[Rating]:
    """Grace has rated five pairs, Heidi three."""
    heidi = enrol(study, note="Heidi")
    consent(heidi)
    rate_some(heidi, 3)
    return rate_some(rater, 5)


def test_a_chain_holds_as_it_was_written(study: Study, rated: list[Rating]) -> None:
    assert list(chain.faults(study)) == []
    assert [rating.sequence for rating in rated] == [1, 2, 3, 4, 5]
    assert [rating.previous_sha256 for rating in rated] == ["", *(rating.sha256 for rating in rated[:-1])]


def test_a_correction_continues_the_chain(study: Study, rater: Evaluator, rated: list[Rating]) -> None:
    last = rated[-1]
    record_rating(
        evaluator=rater, trial_id=last.trial.public_id, choice=-2, key=uuid.uuid4(), elapsed_ms=5, corrects=last.key
    )
    assert list(chain.faults(study)) == []


CHANGES: dict[str, Callable[[Rating], dict[str, Any]]] = {
    "choice": lambda r: {"choice": 2 if r.choice != 2 else 1},
    "elapsed_ms": lambda r: {"elapsed_ms": 1},
    "counted": lambda r: {"counted": False},
    "viewport": lambda r: {"viewport": {"viewport_width": 390}},
    "key": lambda r: {"key": uuid.uuid4()},
    "rated_at": lambda r: {"rated_at": r.rated_at + timedelta(microseconds=1)},
    "corrects": lambda r: {"corrects": Rating.objects.filter(evaluator=r.evaluator, sequence=1).get()},
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_row_is_told(study: Study, rated: list[Rating], field: str) -> None:
    victim = rated[2]
    Rating.objects.filter(pk=victim.pk).update(**CHANGES[field](victim))
    assert [str(fault) for fault in chain.faults(study)] == [
        f"evaluator {victim.evaluator.public_id}, rating 3: its content is not what was written"
    ]


def test_a_changed_row_with_a_fitting_hash_is_told_by_the_next(study: Study, rated: list[Rating]) -> None:
    victim = rated[2]
    victim.choice = 2 if victim.choice != 2 else 1
    victim.sha256 = chain.row_sha256(victim)
    victim.save()
    assert ["rating 4: does not continue" in str(fault) for fault in chain.faults(study)] == [True]


def test_a_removed_row_is_told_and_the_last_one_by_the_root(study: Study, rated: list[Rating]) -> None:
    close_study(study)
    study.refresh_from_db()
    assert len(study.ratings_root) == 64
    rated[4].delete()
    assert list(chain.faults(study)) == []  # nothing follows the last row
    with pytest.raises(CommandError, match="1 faults"):
        call_command("verify_ratings", study.name, stdout=io.StringIO(), stderr=io.StringIO())
    rated[1].delete()
    assert "rating 2 is missing" in str(next(chain.faults(study)))


def test_an_interrupted_closing_leaves_the_study_open(
    study: Study, rated: list[Rating], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Study) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(chain, "root", killed)
        with pytest.raises(KeyboardInterrupt):
            close_study(study)
    stored = Study.objects.get(pk=study.pk)
    assert study.state == stored.state == Study.State.COLLECTING
    assert not stored.events.filter(action="closed").exists()
    close_study(study)
    assert (study.state, study.ratings_root) == (Study.State.CLOSED, chain.root(study))


def without_root(study: Study) -> None:
    """Leave a study as an interrupted closing did when state and root were stored apart."""
    close_study(study)
    Study.objects.filter(pk=study.pk).update(ratings_root="")


def test_a_closed_study_without_root_is_told_and_completed(study: Study, rated: list[Rating]) -> None:
    without_root(study)
    text = "it is closed without the root of its ratings"
    assert [(each.well, text in each.text) for each in doctor.chains(False)] == [(False, False), (False, True)]
    assert f"{study}: {text}" in backup.faults()
    with pytest.raises(CommandError, match="1 faults"):
        call_command("verify_ratings", study.name, stdout=io.StringIO(), stderr=io.StringIO())
    assert all(each.well for each in doctor.chains(True))
    study.refresh_from_db()
    assert study.ratings_root == chain.root(study)
    assert study.events.filter(action="root").count() == 2
    with pytest.raises(LifecycleError, match="is closed; only"):
        close_study(study)


def test_no_root_is_recorded_over_a_changed_answer(study: Study, rated: list[Rating]) -> None:
    without_root(study)
    Rating.objects.filter(pk=rated[2].pk).update(elapsed_ms=1)
    assert not any(each.well for each in doctor.chains(True))
    study.refresh_from_db()
    assert study.ratings_root == ""


def test_the_command_says_that_all_holds(study: Study, rated: list[Rating]) -> None:
    close_study(study)
    output = io.StringIO()
    call_command("verify_ratings", study.name, stdout=output)
    assert "8 ratings, 0 of them deleted on request: every chain holds." in output.getvalue()
    assert "as at closing" in output.getvalue()


def test_withdrawn_answers_leave_the_results_and_stay_in_the_record(
    study: Study, rater: Evaluator, rated: list[Rating]
) -> None:
    assert study_report(study)["n"] == 8
    withdraw(rater)
    assert study_report(study)["n"] == 3
    assert list(chain.faults(study)) == []
    assert progress_of(Evaluator.objects.get(pk=rater.pk)).state == "withdrawn"


def test_deleted_answers_lose_their_content_and_the_chain_still_holds(
    client: Client, study: Study, rater: Evaluator, rated: list[Rating]
) -> None:
    close_study(study)
    client.post(f"{link_for(rater)}withdraw/", {"delete": "1"})
    rows = Rating.objects.filter(evaluator=rater)
    assert set(rows.values_list("choice", "elapsed_ms")) == {(None, None)}
    assert all(row.deleted_at is not None and row.viewport == {} for row in rows)
    output = io.StringIO()
    call_command("verify_ratings", study.name, stdout=output)
    assert "5 of them deleted on request: every chain holds." in output.getvalue()
    exported = io.StringIO()
    call_command("export_preferences", study.name, stdout=exported)
    assert len(exported.getvalue().splitlines()) == 1 + 3


def test_the_page_asks_before_it_withdraws(client: Client, rater: Evaluator) -> None:
    page = client.get(f"{link_for(rater)}withdraw/").content.decode()
    assert "Leave and delete my answers" in page
    rater.refresh_from_db()
    assert rater.withdrawn_at is None
    client.post(f"{link_for(rater)}withdraw/", {"delete": "0"})
    assert "You have left the study" in client.get(link_for(rater)).content.decode()


def test_a_moment_later_is_another_hash(rated: list[Rating]) -> None:
    rating = rated[0]
    before = chain.row_sha256(rating)
    rating.rated_at = timezone.now()
    assert chain.row_sha256(rating) != before
