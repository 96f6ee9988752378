"""Where an evaluator stands, and what happens to an answer.

An answer is accepted once: the page gives it a key, and the same key is the same answer however often it arrives. Rules
that several requests at once could break are the database's (one standing rating a trial, one rating a key).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from studies import locks
from studies.configuration import StudyConfiguration
from studies.drafts import configuration_of
from studies.models import Booklet, Evaluator, Rating, Skip, Study, Trial
from studies.rating import chain

PRELOADED = 2  # trials whose pictures the page may fetch ahead
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
class Standing:
    """Where an evaluator stands.

    ``state``: consent, instructions, practice, comprehension, trial, break, finished, not_open, paused, closed,
    withdrawn or screened_out. In the states instructions and break, ``trial`` is the one that comes next.
    """

    state: str
    trial: Trial | None = None
    position: int = 0  # of the trial among ``of``; practice is numbered apart
    of: int = 0
    ahead: Sequence[Trial] = ()
    corrects: Rating | None = None  # the answer that the trial is shown again for

    @property
    def rates(self) -> bool:
        """Whether a trial is open for an answer."""
        return self.state in ("trial", "practice")


def standing_of(evaluator: Evaluator) -> Standing:
    """Read where an evaluator stands; changes nothing."""
    for at, name in (
        (evaluator.withdrawn_at, "withdrawn"),
        (evaluator.screened_out_at, "screened_out"),
        (evaluator.finished_at, "finished"),
    ):
        if at is not None:
            return Standing(name)
    state = evaluator.study.state
    if state != Study.State.COLLECTING:
        return Standing(state if state in (Study.State.PAUSED, Study.State.CLOSED) else "not_open")
    if evaluator.consented_at is None:
        return Standing("consent")
    trials = list(_numbered(open_trials(evaluator))[: 1 + PRELOADED])
    if not trials:
        return Standing("finished")
    standing = _numbers(trials[0], trials[1:])
    return replace(standing, state=_step(evaluator, configuration_of(evaluator.study), standing))


def _step(evaluator: Evaluator, configuration: StudyConfiguration, standing: Standing) -> str:
    """What an evaluator with an open trial has to do first."""
    assert standing.trial is not None
    if configuration.introduction and evaluator.introduced_at is None:
        return "instructions"
    if standing.trial.kind == Trial.Kind.PRACTICE:
        return "practice"
    if configuration.comprehension and evaluator.comprehension_passed_at is None:
        return "comprehension"
    every, done = configuration.break_every, standing.position - 1
    if every and done and done % every == 0 and done // every > evaluator.breaks_taken:
        return "break"
    return "trial"


def _numbered(trials: QuerySet[Trial]) -> QuerySet[Trial]:
    """With what a page shows, and how many trials and practice trials the booklet has."""
    booklet = Trial.objects.filter(booklet=OuterRef("booklet"), released=False).order_by().values("booklet")
    practice = Count("pk", filter=Q(kind=Trial.Kind.PRACTICE))
    return trials.select_related("pair__prompt", "check_pair__prompt").annotate(
        all_trials=Subquery(booklet.annotate(n=Count("pk")).values("n")),
        practice=Subquery(booklet.annotate(n=practice).values("n")),
    )


def _numbers(trial: Trial, ahead: Sequence[Trial] = (), corrects: Rating | None = None) -> Standing:
    """The standing in front of a trial that ``_numbered`` read."""
    known = vars(trial)
    if trial.kind == Trial.Kind.PRACTICE:
        return Standing("practice", trial, trial.position, known["practice"], ahead, corrects)
    of = known["all_trials"] - known["practice"]
    return Standing("trial", trial, min(of, trial.position - known["practice"]), of, ahead, corrects)


def last_answer_of(evaluator: Evaluator, standing: Standing) -> Standing:
    """The last answered trial once more, to be corrected; ``standing`` itself where there is none. Changes nothing."""
    if standing.state not in ("trial", "break"):
        return standing
    last = (
        Rating.objects.filter(evaluator=evaluator, superseded=False)
        .exclude(trial__kind=Trial.Kind.PRACTICE)
        .order_by("-sequence")
        .first()
    )
    if last is None:
        return standing
    return _numbers(_numbered(Trial.objects.filter(pk=last.trial_id))[0], corrects=last)


def open_trials(evaluator: Evaluator) -> QuerySet[Trial]:
    """The evaluator's trials that are neither answered nor skipped, and whose slot nobody else has filled, in order.

    A repeat opens with its pair's answer: what was skipped, or given to somebody else, is not asked again.
    """
    answered = Rating.objects.filter(evaluator=evaluator, superseded=False).values("trial")
    filled = Rating.objects.filter(slot=OuterRef("slot"), superseded=False)
    return (
        Trial.objects.filter(~Exists(filled), booklet__evaluator=evaluator, released=False, skip=None)
        .exclude(pk__in=answered)
        .exclude(Q(kind=Trial.Kind.REPEAT) & ~Q(repeat_of__in=answered))
        .order_by("position")
    )


def note_shown(standing: Standing) -> None:
    """Remember when the open trial was first served; called where a POST serves it, never by a GET."""
    if standing.rates and standing.trial is not None and standing.trial.shown_at is None:
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

    Raises ``NotCollecting``, ``UnknownTrial``, ``Conflict``: the same key with another body, a second answer that does
    not say what it corrects, or a trial whose turn has not come.
    """
    if choice not in CHOICES:
        raise AnswerError(f"choice must be one of {', '.join(map(str, CHOICES))}, not {choice}")
    given = Answer(trial_id, choice, key, elapsed_ms, corrects, viewport or {})
    known = _by_key(evaluator, key)
    for _ in range(ATTEMPTS):
        if known is not None:
            return _same(known, given)
        try:
            return _store(evaluator, given)
        except IntegrityError:  # another request was faster; the next look says which rule it was
            known = _by_key(evaluator, key)
        except Conflict:
            known = _by_key(evaluator, key)  # the same request, sent twice, may have been faster
            if known is None:
                raise
    raise Conflict("other answers came in at the same time; please send this one again")


def skip_trial(*, evaluator: Evaluator, trial_id: uuid.UUID, reason: str, note: str = "") -> Skip:
    """Leave the open trial without an answer; repeated, it finds that done. Raises as ``record_rating`` does."""
    trial = Trial.objects.filter(public_id=trial_id, booklet__evaluator=evaluator).first()
    if trial is None:
        raise UnknownTrial("this trial is not among yours")
    done = Skip.objects.filter(trial=trial).first()
    if done is not None:
        return done
    first = open_trials(evaluator).first()
    if first is None or first.pk != trial.pk:
        raise Conflict("this trial is not open")
    _check_comprehension(evaluator, first)
    with transaction.atomic():
        _check_open(evaluator)
        return Skip.objects.get_or_create(trial=trial, defaults={"reason": reason, "note": note})[0]


def _store(evaluator: Evaluator, given: Answer) -> Rating:
    trial, open_now = _own_trial(evaluator, given)
    earlier = _corrected(evaluator, trial, given.corrects)
    counted = earlier.counted if earlier else open_now or not _filled(trial)
    last = Rating.objects.filter(evaluator=evaluator).order_by("-sequence").first()
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
        chain.link(rating, last).save(force_insert=True)
    return rating


def _filled(trial: Trial) -> bool:
    """Whether somebody has given the rating that this trial was to give."""
    return Rating.objects.filter(slot=trial.slot, superseded=False).exists()


def finish_if_done(evaluator: Evaluator, standing: Standing) -> None:
    """Remember when the last trial was answered."""
    if standing.state == "finished" and evaluator.finished_at is None and _has_booklet(evaluator):
        Evaluator.objects.filter(pk=evaluator.pk, finished_at=None).update(finished_at=timezone.now())


def _has_booklet(evaluator: Evaluator) -> bool:
    return Booklet.objects.filter(evaluator=evaluator).exists()


def _check_open(evaluator: Evaluator) -> None:
    """Within the answer's transaction: the state cannot change any more before it is committed."""
    if evaluator.withdrawn_at is not None:
        raise NotCollecting("you have withdrawn from this study")
    if evaluator.screened_out_at is not None:
        raise NotCollecting("you are not taking part in this study")
    state = locks.shared_state(evaluator.study)
    if state != Study.State.COLLECTING:
        raise NotCollecting(f"the study is {state}; it takes no answers now")


def _own_trial(evaluator: Evaluator, given: Answer) -> tuple[Trial, bool]:
    """The trial that an answer names, and whether it is the open one.

    Another may be answered too: one that was answered, to correct it, and one that was given to somebody else while
    its page was open; such a late answer is stored, and counts if its slot is still free.
    """
    first = open_trials(evaluator).first()
    if first is not None and first.public_id == given.trial_id:
        _check_comprehension(evaluator, first)
        return first, True
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
    return trial, False


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
