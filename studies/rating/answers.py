"""What happens to an answer.

An answer is accepted once: the page gives it a key, and the same key is the same answer however often it arrives. Rules
that several requests at once could break are the database's (one current rating a trial, one rating a key).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Rating, Skip, Study, Trial
from evenhand.studies.rating import chain
from evenhand.studies.rating.progress import Progress, finish_if_done, note_shown, open_trials, progress_of

CHOICES = (-2, -1, 0, 1, 2)
ATTEMPTS = 8  # of one answer, where others of the same evaluator arrive at the same moment


class AnswerError(InputError):
    """An answer that is not accepted; nothing was stored."""


class Conflict(AnswerError):
    """The answer contradicts what is stored already, or comes before its trial is open."""


class NotCollecting(AnswerError):
    """The study takes no answers now."""


class UnknownTrial(AnswerError):
    """The trial is none of this evaluator's."""


@dataclass(frozen=True)
class Answer:
    """An answer as it came in."""

    trial_id: uuid.UUID
    choice: int
    key: uuid.UUID
    elapsed_ms: int | None
    corrects: uuid.UUID | None
    viewport: dict[str, Any]


@dataclass(frozen=True)
class StoredAnswer:
    """A stored answer, and how far the evaluator has come with it."""

    rating: Rating
    progress: Progress


def store_answer(evaluator: Evaluator, answer: Answer) -> StoredAnswer:
    """Store an answer, or find that it is stored already; then mark what comes next as shown.

    Raises ``NotCollecting``, ``UnknownTrial``, ``Conflict``: the same key with another body, a second answer that does
    not say what it corrects, or a trial whose turn has not come.
    """
    if answer.choice not in CHOICES:
        raise AnswerError(f"choice must be one of {', '.join(map(str, CHOICES))}, not {answer.choice}")
    for _ in range(ATTEMPTS):
        try:
            stored = _store(evaluator, answer)
        except (AnswerError, IntegrityError) as error:
            known = _by_key(evaluator, answer.key)  # most likely the same request, sent twice
            if known is not None:
                return StoredAnswer(_same(known, answer), after_change(evaluator))
            if isinstance(error, AnswerError):
                raise
        else:
            finish_if_done(evaluator, stored.progress)
            return stored
    raise Conflict("other answers came in at the same time; please send this one again")


def after_change(evaluator: Evaluator) -> Progress:
    """The progress after a POST, with its moments written down."""
    progress = progress_of(evaluator)
    note_shown(progress)
    finish_if_done(evaluator, progress)
    return progress


def skip_trial(*, evaluator: Evaluator, trial_id: uuid.UUID, reason: str, note: str = "") -> Skip:
    """Leave the open trial without an answer; repeated, it finds that done. Raises as ``store_answer`` does."""
    trial = Trial.objects.filter(public_id=trial_id, booklet__evaluator=evaluator).first()
    if trial is None:
        raise UnknownTrial("this trial is not among yours")
    done = Skip.objects.filter(trial=trial).first()
    if done is not None:
        return done
    open_now = open_trials(evaluator)
    if not open_now or open_now[0].pk != trial.pk:
        raise Conflict("this trial is not open")
    _check_comprehension(evaluator, trial)
    with transaction.atomic():
        _check_open(evaluator)
        return Skip.objects.get_or_create(trial=trial, defaults={"reason": reason, "note": note})[0]


def _store(evaluator: Evaluator, answer: Answer) -> StoredAnswer:
    """One transaction for the answer and for what it opens: an answer is on the disk with a single wait for it."""
    open_now = open_trials(evaluator, answering=answer.trial_id)
    in_turn = bool(open_now) and open_now[0].public_id == answer.trial_id
    if in_turn:
        trial = open_now[0]
        _check_comprehension(evaluator, trial)
    else:
        trial = _trial_out_of_turn(evaluator, answer)
    earlier = _corrected(evaluator, trial, answer.corrects)
    counted = earlier.counted if earlier else in_turn or not _filled(trial)
    with transaction.atomic():
        _check_open(evaluator)
        if earlier is not None and not Rating.objects.filter(pk=earlier.pk, superseded=False).update(superseded=True):
            raise Conflict("that answer was corrected before")
        version = evaluator.study.current_version
        assert version is not None  # a study that collects has one
        rating = Rating(
            trial=trial,
            evaluator=evaluator,
            version=version,
            choice=answer.choice,
            key=answer.key,
            corrects=earlier,
            counted=counted,
            slot=trial.slot if counted and trial.kind == Trial.Kind.MAIN else None,
            elapsed_ms=answer.elapsed_ms,
            viewport=answer.viewport,
            rated_at=timezone.now(),
        )
        chain.link(rating, chain.end_of(evaluator)).save(force_insert=True)
        progress = progress_of(evaluator, open_now[1:] if in_turn else None)
        note_shown(progress)
    return StoredAnswer(rating, progress)


def _filled(trial: Trial) -> bool:
    """Whether somebody has given the rating that this trial was to give."""
    return Rating.objects.filter(slot=trial.slot, superseded=False).exists()


class LockedState(NamedTuple):
    """What decides whether an answer may be taken."""

    study: str  # its state
    withdrawn: bool
    screened_out: bool


def _locked_state(evaluator: Evaluator) -> LockedState:
    """The state of an evaluator and of the study, fixed until this transaction ends; many may hold it at once.

    PostgreSQL holds both rows for sharing, so that whoever changes them waits. On SQLite a transaction is immediate: it
    has the write lock from its beginning, and nobody else writes.
    """
    lock = " FOR SHARE" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT study.state, person.withdrawn_at IS NOT NULL, person.screened_out_at IS NOT NULL"  # noqa: S608
            " FROM studies_evaluator person JOIN studies_study study ON study.id = person.study_id"
            f" WHERE person.id = %s{lock}",
            [evaluator.pk],
        )
        return LockedState(*cursor.fetchone())


def _check_open(evaluator: Evaluator) -> None:
    """Within the answer's transaction: what is checked cannot change any more before it is committed."""
    held = _locked_state(evaluator)
    if held.withdrawn:
        raise NotCollecting("you have withdrawn from this study")
    if held.screened_out:
        raise NotCollecting("you are not taking part in this study")
    if held.study != Study.State.COLLECTING:
        raise NotCollecting(f"the study is {held.study}; it takes no answers now")


def _trial_out_of_turn(evaluator: Evaluator, answer: Answer) -> Trial:
    """A trial that may be answered though it is not the open one.

    One that was answered, to correct it; and one that was given to somebody else while its page was open, or whose slot
    another filled: such a late answer is stored, and counts if its slot is still free.
    """
    trial = Trial.objects.filter(public_id=answer.trial_id, booklet__evaluator=evaluator).first()
    if trial is None:
        _check_open(evaluator)
        raise UnknownTrial("this trial is not among yours")
    if answer.corrects is None:
        _check_open(evaluator)
        if Rating.objects.filter(trial=trial, superseded=False).exists() or Skip.objects.filter(trial=trial).exists():
            raise Conflict("this trial has an answer already")
        if not trial.released and not _filled(trial):
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


def _by_key(evaluator: Evaluator, key: uuid.UUID) -> Rating | None:
    return Rating.objects.select_related("trial", "corrects").filter(evaluator=evaluator, key=key).first()


def _same(known: Rating, answer: Answer) -> Rating:
    """The stored answer, if the request repeats it."""
    content = (known.trial.public_id, known.choice, known.elapsed_ms, known.corrects.key if known.corrects else None)
    if content != (answer.trial_id, answer.choice, answer.elapsed_ms, answer.corrects):
        raise Conflict("another answer was sent under the same key")
    return known


def _corrected(evaluator: Evaluator, trial: Trial, corrects: uuid.UUID | None) -> Rating | None:
    """The current answer that this one corrects; none for a first answer."""
    if corrects is None:
        return None
    if not configuration_of(evaluator.study).allow_correction:
        raise Conflict("this study does not let answers be corrected")
    earlier = Rating.objects.filter(evaluator=evaluator, trial=trial, key=corrects, superseded=False).first()
    if earlier is None:
        raise Conflict("there is no such answer to correct")
    return earlier
