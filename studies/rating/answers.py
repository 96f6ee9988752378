"""Where an evaluator stands, and what happens to an answer.

An answer is accepted once: the page gives it a key, and the same key is the same answer however often it arrives. Rules
that several requests at once could break are the database's (one standing rating a trial, one rating a key).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from studies.models import Booklet, Evaluator, Rating, Study, Trial

PRELOADED = 2  # trials whose pictures the page may fetch ahead
CHOICES = (-2, -1, 0, 1, 2)


class AnswerError(ValueError):
    """An answer that is not accepted; nothing was stored."""


class Conflict(AnswerError):
    """The answer contradicts what is stored already, or comes before its trial is open."""


class NotCollecting(AnswerError):
    """The study takes no answers now."""


class UnknownTrial(AnswerError):
    """The trial is none of this evaluator's."""


@dataclass(frozen=True)
class Standing:
    """Where an evaluator stands. ``state``: consent, trial, finished, not_open, paused, closed or withdrawn."""

    state: str
    trial: Trial | None = None
    of: int = 0
    ahead: list[Trial] = field(default_factory=list)


def standing_of(evaluator: Evaluator) -> Standing:
    """Read where an evaluator stands; changes nothing."""
    if evaluator.withdrawn_at is not None:
        return Standing("withdrawn")
    if evaluator.finished_at is not None:
        return Standing("finished")
    state = evaluator.study.state
    if state != Study.State.COLLECTING:
        return Standing(state if state in (Study.State.PAUSED, Study.State.CLOSED) else "not_open")
    if evaluator.consented_at is None:
        return Standing("consent")
    trials = list(open_trials(evaluator).select_related("pair__prompt", "left_image__prompt")[: 1 + PRELOADED])
    if not trials:
        return Standing("finished")
    return Standing("trial", trials[0], _trial_count(evaluator), trials[1:])


def open_trials(evaluator: Evaluator) -> QuerySet[Trial]:
    """The evaluator's trials without a standing answer, in order."""
    answered = Rating.objects.filter(evaluator=evaluator, superseded=False).values("trial")
    return (
        Trial.objects.filter(booklet__evaluator=evaluator, released=False).exclude(pk__in=answered).order_by("position")
    )


def _trial_count(evaluator: Evaluator) -> int:
    return Trial.objects.filter(booklet__evaluator=evaluator, released=False).count()


def note_shown(standing: Standing) -> None:
    """Remember when the open trial was first served; called where a POST serves it, never by a GET."""
    if standing.trial is not None and standing.trial.shown_at is None:
        Trial.objects.filter(pk=standing.trial.pk, shown_at=None).update(shown_at=timezone.now())


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
    """Store an answer, or find that it is stored already.

    Raises ``NotCollecting``, ``UnknownTrial``, or ``Conflict``: the same key with another body, a second answer that does
    not say what it corrects, or a trial whose turn has not come.
    """
    if choice not in CHOICES:
        raise AnswerError(f"choice must be one of {', '.join(map(str, CHOICES))}, not {choice}")
    known = _by_key(evaluator, key)
    if known is not None:
        return _same(known, trial_id, choice, elapsed_ms, corrects)
    try:
        return _store(evaluator, trial_id, choice, key, elapsed_ms, corrects, viewport or {})
    except (Conflict, IntegrityError) as error:
        known = _by_key(evaluator, key)  # the same request, sent twice, may have been faster
        if known is not None:
            return _same(known, trial_id, choice, elapsed_ms, corrects)
        raise error if isinstance(error, Conflict) else Conflict("this trial has an answer already") from error


def _store(
    evaluator: Evaluator,
    trial_id: uuid.UUID,
    choice: int,
    key: uuid.UUID,
    elapsed_ms: int | None,
    corrects: uuid.UUID | None,
    viewport: dict[str, Any],
) -> Rating:
    _check_open(evaluator)
    trial = Trial.objects.filter(public_id=trial_id, booklet__evaluator=evaluator).first()
    if trial is None:
        raise UnknownTrial("this trial is not among yours")
    version = evaluator.study.current_version
    assert version is not None  # a study that collects has one
    earlier = _corrected(evaluator, trial, corrects)
    if earlier is None:
        _check_turn(evaluator, trial)
    with transaction.atomic():
        if earlier is not None and not Rating.objects.filter(pk=earlier.pk, superseded=False).update(superseded=True):
            raise Conflict("that answer was corrected before")
        return Rating.objects.create(
            trial=trial,
            evaluator=evaluator,
            version=version,
            choice=choice,
            key=key,
            corrects=earlier,
            elapsed_ms=elapsed_ms,
            viewport=viewport,
        )


def finish_if_done(evaluator: Evaluator, standing: Standing) -> None:
    """Remember when the last trial was answered."""
    if standing.state == "finished" and evaluator.finished_at is None and _has_booklet(evaluator):
        Evaluator.objects.filter(pk=evaluator.pk, finished_at=None).update(finished_at=timezone.now())


def _has_booklet(evaluator: Evaluator) -> bool:
    return Booklet.objects.filter(evaluator=evaluator).exists()


def _check_open(evaluator: Evaluator) -> None:
    if evaluator.withdrawn_at is not None:
        raise NotCollecting("you have withdrawn from this study")
    if evaluator.study.state != Study.State.COLLECTING:
        raise NotCollecting(f"the study is {evaluator.study.state}; it takes no answers now")


def _check_turn(evaluator: Evaluator, trial: Trial) -> None:
    first = open_trials(evaluator).first()
    if first is None or trial.position < first.position:
        raise Conflict("this trial has an answer already")
    if trial.pk != first.pk:
        raise Conflict("this trial's turn has not come")


def _by_key(evaluator: Evaluator, key: uuid.UUID) -> Rating | None:
    return Rating.objects.select_related("trial", "corrects").filter(evaluator=evaluator, key=key).first()


def _same(
    known: Rating, trial_id: uuid.UUID, choice: int, elapsed_ms: int | None, corrects: uuid.UUID | None
) -> Rating:
    """The stored answer, if the request repeats it."""
    stored = (known.trial.public_id, known.choice, known.elapsed_ms, known.corrects.key if known.corrects else None)
    if stored != (trial_id, choice, elapsed_ms, corrects):
        raise Conflict("another answer was sent under the same key")
    return known


def _corrected(evaluator: Evaluator, trial: Trial, corrects: uuid.UUID | None) -> Rating | None:
    """The standing answer that this one corrects; none for a first answer."""
    if corrects is None:
        return None
    earlier = Rating.objects.filter(evaluator=evaluator, trial=trial, key=corrects, superseded=False).first()
    if earlier is None:
        raise Conflict("there is no standing answer to correct")
    return earlier
