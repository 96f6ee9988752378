"""What happens to an answer.

An answer is accepted once: the page gives it a key, and the same key is the same answer however often it arrives. Rules
that several requests at once could break are the database's (one standing rating a trial, one rating a key).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from evenhand.studies import locks
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Rating, Skip, Study, Trial
from evenhand.studies.rating import chain
from evenhand.studies.rating.progress import Standing, finish_if_done, note_shown, open_trials, standing_of

CHOICES = (-2, -1, 0, 1, 2)
ATTEMPTS = 8  # of one answer, where others of the same evaluator arrive at the same moment


class AnswerError(ValueError):
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
class Taken:
    """A stored answer, and where the evaluator stands behind it."""

    rating: Rating
    standing: Standing


def record_rating(
    *,
    evaluator: Evaluator,
    trial_id: uuid.UUID,
    choice: int,
    key: uuid.UUID,
    elapsed_ms: int | None = None,
    corrects: uuid.UUID | None = None,
    viewport: dict[str, Any] | None = None,
) -> Rating:
    """Store an answer, or find that it is stored already. Raises as ``take_answer`` does."""
    return take_answer(evaluator, Answer(trial_id, choice, key, elapsed_ms, corrects, viewport or {})).rating


def take_answer(evaluator: Evaluator, given: Answer) -> Taken:
    """Store an answer, or find that it is stored already; then mark what comes next as shown.

    Raises ``NotCollecting``, ``UnknownTrial``, ``Conflict``: the same key with another body, a second answer that does
    not say what it corrects, or a trial whose turn has not come.
    """
    if given.choice not in CHOICES:
        raise AnswerError(f"choice must be one of {', '.join(map(str, CHOICES))}, not {given.choice}")
    for _ in range(ATTEMPTS):
        try:
            taken = _store(evaluator, given)
        except (AnswerError, IntegrityError) as error:
            known = _by_key(evaluator, given.key)  # most likely the same request, sent twice
            if known is not None:
                return Taken(_same(known, given), after_change(evaluator))
            if isinstance(error, AnswerError):
                raise
        else:
            finish_if_done(evaluator, taken.standing)
            return taken
    raise Conflict("other answers came in at the same time; please send this one again")


def after_change(evaluator: Evaluator) -> Standing:
    """The standing behind a POST, with its moments written down."""
    standing = standing_of(evaluator)
    note_shown(standing)
    finish_if_done(evaluator, standing)
    return standing


def skip_trial(*, evaluator: Evaluator, trial_id: uuid.UUID, reason: str, note: str = "") -> Skip:
    """Leave the open trial without an answer; repeated, it finds that done. Raises as ``take_answer`` does."""
    trial = Trial.objects.filter(public_id=trial_id, booklet__evaluator=evaluator).first()
    if trial is None:
        raise UnknownTrial("this trial is not among yours")
    done = Skip.objects.filter(trial=trial).first()
    if done is not None:
        return done
    still = open_trials(evaluator)
    if not still or still[0].pk != trial.pk:
        raise Conflict("this trial is not open")
    _check_comprehension(evaluator, trial)
    with transaction.atomic():
        _check_open(evaluator)
        return Skip.objects.get_or_create(trial=trial, defaults={"reason": reason, "note": note})[0]


def _store(evaluator: Evaluator, given: Answer) -> Taken:
    """One transaction for the answer and for what it opens: an answer is on the disk with a single wait for it."""
    still = open_trials(evaluator, answering=given.trial_id)
    in_turn = bool(still) and still[0].public_id == given.trial_id
    if in_turn:
        trial = still[0]
        _check_comprehension(evaluator, trial)
    else:
        trial = _trial_out_of_turn(evaluator, given)
    earlier = _corrected(evaluator, trial, given.corrects)
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
            choice=given.choice,
            key=given.key,
            corrects=earlier,
            counted=counted,
            slot=trial.slot if counted and trial.kind == Trial.Kind.MAIN else None,
            elapsed_ms=given.elapsed_ms,
            viewport=given.viewport,
            rated_at=timezone.now(),
        )
        chain.link(rating, chain.end_of(evaluator)).save(force_insert=True)
        standing = standing_of(evaluator, still[1:] if in_turn else None)
        note_shown(standing)
    return Taken(rating, standing)


def _filled(trial: Trial) -> bool:
    """Whether somebody has given the rating that this trial was to give."""
    return Rating.objects.filter(slot=trial.slot, superseded=False).exists()


def _check_open(evaluator: Evaluator) -> None:
    """Within the answer's transaction: what is checked cannot change any more before it is committed."""
    now = locks.shared_state(evaluator)
    if now.withdrawn:
        raise NotCollecting("you have withdrawn from this study")
    if now.screened_out:
        raise NotCollecting("you are not taking part in this study")
    if now.study != Study.State.COLLECTING:
        raise NotCollecting(f"the study is {now.study}; it takes no answers now")


def _trial_out_of_turn(evaluator: Evaluator, given: Answer) -> Trial:
    """A trial that may be answered though it is not the open one.

    One that was answered, to correct it; and one that was given to somebody else while its page was open, or whose slot
    another filled: such a late answer is stored, and counts if its slot is still free.
    """
    trial = Trial.objects.filter(public_id=given.trial_id, booklet__evaluator=evaluator).first()
    if trial is None:
        _check_open(evaluator)
        raise UnknownTrial("this trial is not among yours")
    if given.corrects is None:
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


def _same(known: Rating, given: Answer) -> Rating:
    """The stored answer, if the request repeats it."""
    stored = (known.trial.public_id, known.choice, known.elapsed_ms, known.corrects.key if known.corrects else None)
    if stored != (given.trial_id, given.choice, given.elapsed_ms, given.corrects):
        raise Conflict("another answer was sent under the same key")
    return known


def _corrected(evaluator: Evaluator, trial: Trial, corrects: uuid.UUID | None) -> Rating | None:
    """The standing answer that this one corrects; none for a first answer."""
    if corrects is None:
        return None
    if not configuration_of(evaluator.study).allow_correction:
        raise Conflict("this study does not let answers be corrected")
    earlier = Rating.objects.filter(evaluator=evaluator, trial=trial, key=corrects, superseded=False).first()
    if earlier is None:
        raise Conflict("there is no standing answer to correct")
    return earlier
