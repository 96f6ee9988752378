"""Store an evaluator's answers: accept, correct or skip the trial in turn.

An answer is accepted once: the page gives it a key, and the same key is the same answer however often it arrives. The
database's constraints hold the rules that simultaneous requests could break (one current rating a trial, one rating a
key).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.exclusions import gave_all_away
from evenhand.studies.models import Evaluator, Rating, Skip, Trial
from evenhand.studies.rating import chain
from evenhand.studies.rating.progress import Progress, finish_if_done, is_open_for, note_shown, open_trials, progress_of
from evenhand.studies.unusable_pairs import is_unusable

CHOICES = (-2, -1, 0, 1, 2)
BOTH_BAD = "both_bad"  # sent instead of a choice; stored as 0, with a mark
ATTEMPTS = 8  # to store one answer while others of the same evaluator arrive


class AnswerError(InputError):
    """An answer that is not accepted; nothing was stored."""


class Conflict(AnswerError):
    """The answer contradicts a stored one, or comes before its trial is open."""


class Unasked(AnswerError):
    """The answer contains what this study does not ask."""


class NotCollecting(AnswerError):
    """The study takes no answers now."""


class UnknownTrial(AnswerError):
    """The trial does not belong to this evaluator."""


@dataclass(frozen=True)
class Answer:
    """An answer as it was sent."""

    trial_id: uuid.UUID
    choice: int
    key: uuid.UUID
    elapsed_ms: int | None
    corrects: uuid.UUID | None
    viewport: dict[str, Any]
    both_bad: bool = False
    reasons: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class StoredAnswer:
    """A stored answer, and the evaluator's progress after it."""

    rating: Rating
    progress: Progress


def store_answer(evaluator: Evaluator, answer: Answer) -> StoredAnswer:
    """Store an answer, unless it is stored already; then mark the next trial as shown.

    Raises ``NotCollecting``, ``UnknownTrial``, ``Unasked``, ``Conflict``: the same key with another body, a second
    answer that does not say what it corrects, or a trial whose turn has not come.
    """
    _check_asked(configuration_of(evaluator.study), answer)
    for _ in range(ATTEMPTS):
        try:
            stored_answer = _store(evaluator, answer)
        except (AnswerError, IntegrityError) as error:
            rating = _rating_of_key(evaluator, answer.key)  # most likely the same request, sent twice
            if rating is not None:
                _check_repeats(rating, answer)
                return StoredAnswer(rating, after_change(evaluator))
            if isinstance(error, AnswerError):
                raise
        else:
            finish_if_done(evaluator, stored_answer.progress)
            return stored_answer
    raise Conflict("other answers came in at the same time; please send this one again")


def _check_asked(configuration: StudyConfiguration, answer: Answer) -> None:
    """Raise ``Unasked`` for a choice, a reason or a remark that the study does not offer."""
    if answer.choice not in CHOICES or (answer.both_bad and answer.choice != 0):
        raise Unasked(f"choice must be one of {', '.join(map(str, CHOICES))} or {BOTH_BAD}, not {answer.choice}")
    if answer.both_bad and not configuration.both_bad_option:
        raise Unasked(f"this study has no option “{BOTH_BAD}”")
    unknown = [reason for reason in answer.reasons if reason not in configuration.reasons]
    if unknown or len(set(answer.reasons)) < len(answer.reasons):
        raise Unasked(f"reasons must be different ones of this study, not {', '.join(answer.reasons)}")
    if answer.remark and not configuration.ask_remark:
        raise Unasked("this study does not ask for a remark")


def after_change(evaluator: Evaluator) -> Progress:
    """Return the progress after a POST; record when the next trial was shown, or when the last one was answered."""
    progress = progress_of(evaluator)
    note_shown(progress)
    finish_if_done(evaluator, progress)
    return progress


def skip_trial(*, evaluator: Evaluator, trial_id: uuid.UUID, reason: str, note: str = "") -> Skip:
    """Leave the open trial unanswered, and what else is asked about its pictures. Raises as ``store_answer`` does.

    A repeated call returns the same skip.
    """
    trial = Trial.objects.filter(public_id=trial_id, booklet__evaluator=evaluator).first()
    if trial is None:
        raise UnknownTrial("this trial is not among yours")
    skip = Skip.objects.filter(trial=trial).first()
    if skip is not None:
        return skip
    trials = open_trials(evaluator)
    if not trials or trials[0].pk != trial.pk:
        raise Conflict("this trial is not open")
    _check_comprehension(evaluator, trial)
    with transaction.atomic():
        Evaluator.objects.select_for_update().get(pk=evaluator.pk)  # an answer from elsewhere ends first
        _check_open(evaluator)
        if Rating.objects.filter(trial=trial, superseded=False).exists():
            raise Conflict("this trial has an answer already")
        followers = Trial.objects.filter(lead=trial.lead_id or trial.pk, position__gt=trial.position)
        for follower in followers:
            Skip.objects.get_or_create(trial=follower, defaults={"reason": Skip.Reason.SKIP})
        return Skip.objects.get_or_create(trial=trial, defaults={"reason": reason, "note": note})[0]


def _store(evaluator: Evaluator, answer: Answer) -> StoredAnswer:
    """Store the answer and mark the next trial as shown, in one transaction, so that the disk is waited for once."""
    trials = open_trials(evaluator, answered_id=answer.trial_id)
    in_turn = bool(trials) and trials[0].public_id == answer.trial_id
    if in_turn:
        trial = trials[0]
        _check_comprehension(evaluator, trial)
    else:
        trial = _trial_out_of_turn(evaluator, answer)
    predecessor = _predecessor(evaluator, trial, answer.corrects)
    counts = predecessor is not None or in_turn or not _is_filled(trial)
    with transaction.atomic():
        freed = _check_open(evaluator).freed
        end, skipped = chain.end_and_skip(evaluator, trial)  # once the lock is had: a skip may have come in between
        if skipped and predecessor is None:
            raise Conflict("this trial was skipped")
        if predecessor is not None:
            _supersede(predecessor)
            counts = predecessor.counted and (predecessor.slot is not None or freed or trial.kind != Trial.Kind.MAIN)
        rating = _new_rating(evaluator, trial, answer, predecessor, counts)
        if freed:
            rating.slot = None  # while they are left out their pairs are others'
        chain.link(rating, end).save(force_insert=True)
        progress = progress_of(evaluator, trials[1:] if in_turn else None)
        note_shown(progress)
    return StoredAnswer(rating, progress)


def _supersede(rating: Rating) -> None:
    """Mark a rating as superseded by a conditional update, so that of two corrections one is refused."""
    if not Rating.objects.filter(pk=rating.pk, superseded=False).update(superseded=True):
        raise Conflict("that answer was corrected before")


def _new_rating(evaluator: Evaluator, trial: Trial, answer: Answer, predecessor: Rating | None, counts: bool) -> Rating:
    """Make an unsaved rating; a main trial's fills its slot where it counts."""
    version = evaluator.study.current_version
    assert version is not None  # a study that collects has one
    return Rating(
        trial=trial,
        evaluator=evaluator,
        version=version,
        choice=answer.choice,
        both_bad=answer.both_bad,
        reasons=list(answer.reasons),
        remark=answer.remark,
        key=answer.key,
        corrects=predecessor,
        counted=counts,
        slot=trial.slot if counts and trial.kind == Trial.Kind.MAIN else None,
        elapsed_ms=answer.elapsed_ms,
        viewport=answer.viewport,
        rated_at=timezone.now(),
    )


def _is_filled(trial: Trial) -> bool:
    """Whether a current rating fills the trial's slot."""
    return Rating.objects.filter(slot=trial.slot, superseded=False).exists()


class LockedState(NamedTuple):
    """The values that decide whether an answer may be taken."""

    study: str  # its state
    withdrawn: bool
    screened_out: bool
    freed: bool  # left out, and the pairs given to others
    pilot: bool


def _locked_state(evaluator: Evaluator) -> LockedState:
    """Read the state of an evaluator and of the study, and lock both until this transaction ends.

    On PostgreSQL it is a shared lock: other answers may hold it too, and whoever changes the rows waits. On SQLite a
    transaction is immediate: it has the write lock from its beginning, and nobody else writes.

    Whose open pairs alone were given to others still fills places. Whether all were is read after the lock is had, so
    that it is as whoever held the row has left it.
    """
    lock = " FOR SHARE" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT study.state, person.withdrawn_at IS NOT NULL, person.screened_out_at IS NOT NULL,"  # noqa: S608
            " person.freed_at IS NOT NULL, person.pilot"
            " FROM studies_evaluator person JOIN studies_study study ON study.id = person.study_id"
            f" WHERE person.id = %s{lock}",
            [evaluator.pk],
        )
        state = LockedState(*cursor.fetchone())
    if not state.freed:
        return state
    return state._replace(freed=gave_all_away(evaluator))


def _check_open(evaluator: Evaluator) -> LockedState:
    """Raise ``NotCollecting`` where no answer may be taken; until the commit this cannot change any more."""
    state = _locked_state(evaluator)
    if state.withdrawn:
        raise NotCollecting("you have withdrawn from this study")
    if state.screened_out:
        raise NotCollecting("you are not taking part in this study")
    if not is_open_for(state.study, pilot=state.pilot):
        raise NotCollecting(f"the study is {state.study}; it takes no answers now")
    return state


def _trial_out_of_turn(evaluator: Evaluator, answer: Answer) -> Trial:
    """Return a trial that may be answered though it is not the open one.

    It was answered before and is now corrected; or it was given to somebody else, its slot was filled by another,
    or its pair was marked as unusable, while its page was open. Such a late answer is stored, and counts if its slot is
    still free and its pair usable.
    """
    trial = Trial.objects.filter(public_id=answer.trial_id, booklet__evaluator=evaluator).first()
    if trial is None:
        _check_open(evaluator)
        raise UnknownTrial("this trial is not among yours")
    if answer.corrects is None:
        _check_open(evaluator)
        if Rating.objects.filter(trial=trial, superseded=False).exists() or Skip.objects.filter(trial=trial).exists():
            raise Conflict("this trial has an answer already")
        if not trial.released and not _is_filled(trial) and not is_unusable(trial.pair_id):
            raise Conflict("this trial's turn has not come")
    return trial


def _check_comprehension(evaluator: Evaluator, trial: Trial) -> None:
    if (
        trial.kind != Trial.Kind.PRACTICE
        and evaluator.comprehension_passed_at is None
        and configuration_of(evaluator.study).comprehension
    ):
        _check_open(evaluator)
        raise Conflict("the questions about the instructions come first")


def _rating_of_key(evaluator: Evaluator, key: uuid.UUID) -> Rating | None:
    return Rating.objects.select_related("trial", "corrects").filter(evaluator=evaluator, key=key).first()


def _check_repeats(rating: Rating, answer: Answer) -> None:
    """Raise ``Conflict`` unless the answer repeats the stored rating of the same key."""
    corrects = rating.corrects.key if rating.corrects else None
    stored = (rating.trial.public_id, rating.choice, rating.elapsed_ms, corrects)
    details = (rating.both_bad, tuple(rating.reasons), rating.remark)
    sent = (answer.trial_id, answer.choice, answer.elapsed_ms, answer.corrects)
    if (stored, details) != (sent, (answer.both_bad, answer.reasons, answer.remark)):
        raise Conflict("another answer was sent under the same key")


def _predecessor(evaluator: Evaluator, trial: Trial, corrects: uuid.UUID | None) -> Rating | None:
    """Return the current rating that an answer corrects; None for a first answer."""
    if corrects is None:
        return None
    if not configuration_of(evaluator.study).allow_correction:
        raise Conflict("this study does not let answers be corrected")
    rating = Rating.objects.filter(evaluator=evaluator, trial=trial, key=corrects, superseded=False).first()
    if rating is None:
        raise Conflict("there is no such answer to correct")
    return rating
