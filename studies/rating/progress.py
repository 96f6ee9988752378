"""Tell how far an evaluator has come: the open trial, and the steps before it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from django.utils import timezone

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Rating, Study, Trial

TRIALS_AHEAD = 2  # whose pictures the page may fetch early

# These queries run at every answer, and are written by hand: Django takes longer to compile them than PostgreSQL to run
# them, and with joins instead of subqueries PostgreSQL would plan for longer than it runs (docs/performance.md).
UNUSABLE = """({0}.pair_id IS NOT NULL AND {0}.pair_id IN (
        SELECT mark.pair_id FROM studies_exclusion mark WHERE mark.pair_id IS NOT NULL AND mark.lifted_at IS NULL))"""
# A trial that was given to somebody else, or whose pair nobody is asked about any more; one that is done stays counted.
PASSED_OVER = f"""(other.released OR ({UNUSABLE.format("other")}
            AND NOT EXISTS (SELECT 1 FROM studies_skip skip WHERE skip.trial_id = other.id)
            AND NOT EXISTS (SELECT 1 FROM studies_rating own WHERE own.trial_id = other.id AND NOT own.superseded)))"""  # noqa: S608
TRIAL_QUERY = f"""
SELECT trial.*,
       (SELECT prompt.text FROM studies_prompt prompt WHERE prompt.id = coalesce(
           (SELECT pair.prompt_id FROM studies_pair pair WHERE pair.id = trial.pair_id),
           (SELECT made.prompt_id FROM studies_checkpair made WHERE made.id = trial.check_pair_id))) AS prompt_text,
       (SELECT count(*) FROM studies_trial other
         WHERE other.booklet_id = trial.booklet_id AND other.lead_id IS NULL AND NOT {PASSED_OVER}
           AND (other.kind = 'practice') = (trial.kind = 'practice')) AS showings,
       (SELECT count(*) FROM studies_trial other
         WHERE other.booklet_id = trial.booklet_id AND other.lead_id IS NULL AND NOT {PASSED_OVER}
           AND (other.kind = 'practice') = (trial.kind = 'practice') AND other.position <= trial.position) AS number,
       (SELECT lead.public_id FROM studies_trial lead WHERE lead.id = trial.lead_id) AS lead_public_id,
       (SELECT count(*) FROM studies_trial other
         WHERE other.lead_id = coalesce(trial.lead_id, trial.id)) AS follower_count,
       (SELECT count(*) FROM studies_trial other
         WHERE other.lead_id = trial.lead_id AND other.position <= trial.position) AS follower_number
  FROM studies_trial trial
"""  # noqa: S608 (constants)
OPEN_TRIALS_QUERY = f"""{TRIAL_QUERY}
  JOIN studies_booklet booklet ON booklet.id = trial.booklet_id
 WHERE booklet.evaluator_id = %(evaluator)s AND NOT trial.released AND NOT {UNUSABLE.format("trial")}
   AND NOT EXISTS (SELECT 1 FROM studies_skip skip WHERE skip.trial_id = trial.id)
   AND NOT EXISTS (SELECT 1 FROM studies_rating own WHERE own.trial_id = trial.id AND NOT own.superseded)
   AND NOT EXISTS (SELECT 1 FROM studies_rating other WHERE other.slot = trial.slot AND NOT other.superseded)
   AND (trial.repeat_of_id IS NULL
        OR trial.repeat_of_id = (SELECT now.id FROM studies_trial now WHERE now.public_id = %(answered)s)
        OR EXISTS (SELECT 1 FROM studies_rating own WHERE own.trial_id = trial.repeat_of_id AND NOT own.superseded))
 ORDER BY trial.position LIMIT %(most)s
"""  # noqa: S608 (constants)


class State(StrEnum):
    """The step at which an evaluator stands. The values are those of the JSON."""

    CONSENT = "consent"
    INSTRUCTIONS = "instructions"
    PRACTICE = "practice"
    COMPREHENSION = "comprehension"
    QUESTION = "question"
    TRIAL = "trial"
    BREAK = "break"
    FINISHED = "finished"
    FULL = "full"
    NOT_OPEN = "not_open"
    PAUSED = "paused"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"
    SCREENED_OUT = "screened_out"


STATES_WITHOUT_TRIALS = {Study.State.PAUSED: State.PAUSED, Study.State.CLOSED: State.CLOSED}  # others: not open


@dataclass(frozen=True)
class Progress:
    """How far an evaluator has come. In the steps between trials, ``trial`` is the one that comes next."""

    state: State
    trial: Trial | None = None
    prompt: str = ""
    position: int = 0  # of the two pictures among ``of``; practice is numbered separately
    of: int = 0
    part: int = 1  # of the questions about these pictures
    parts: int = 1
    shown_as: uuid.UUID | None = None  # the public id under which these pictures were served before
    ahead: Sequence[Trial] = ()
    corrects: Rating | None = None  # the answer to be corrected, where its trial is shown again

    @property
    def rates(self) -> bool:
        """Whether a trial is open for an answer."""
        return self.state in (State.TRIAL, State.PRACTICE)


def progress_of(evaluator: Evaluator, trials: Sequence[Trial] | None = None) -> Progress:
    """Return how far an evaluator has come; changes nothing. trials: the ``open_trials``, where they are at hand."""
    for at, state in (
        (evaluator.withdrawn_at, State.WITHDRAWN),
        (evaluator.screened_out_at, State.SCREENED_OUT),
        (evaluator.finished_at, State.FINISHED),
    ):
        if at is not None:
            return Progress(state)
    if not is_open_for(evaluator.study.state, pilot=evaluator.pilot):
        return Progress(state_without_trials(evaluator.study))
    if evaluator.consented_at is None:
        return Progress(State.CONSENT)
    if trials is None:
        trials = open_trials(evaluator)
    if not trials:
        return Progress(State.FINISHED)
    ahead = [trial for trial in trials[1:] if trial.lead_id is None]
    progress = _numbered(trials[0], ahead[:TRIALS_AHEAD])
    return replace(progress, state=_first_step(evaluator, configuration_of(evaluator.study), progress))


def is_open_for(state: str, *, pilot: bool) -> bool:
    """Whether a study in this state takes answers: a pilot's as soon as it is ready, anybody else's when it is open."""
    return state == Study.State.COLLECTING or (pilot and state == Study.State.READY)


def state_without_trials(study: Study) -> State:
    """Return the state that evaluators see in a study that does not collect."""
    return STATES_WITHOUT_TRIALS.get(Study.State(study.state), State.NOT_OPEN)


def open_trials(evaluator: Evaluator, answered_id: uuid.UUID | None = None) -> list[Trial]:
    """Return the evaluator's next few trials that are neither answered nor skipped, and whose slot is not filled.

    Trials of unusable pairs are passed over.

    A repeat opens when its pair is answered: a pair that was skipped, or given to somebody else, is not repeated.
    answered_id: the public id of a trial that counts as answered for the opening of its repeat.
    """
    configuration = configuration_of(evaluator.study)
    together = 1 if configuration.runs else len(configuration.criteria)
    parameters = {
        "evaluator": evaluator.pk,
        "answered": answered_id.hex if answered_id else None,
        "most": 1 + together * (1 + TRIALS_AHEAD),  # the one that is answered, and those behind it
    }
    return list(Trial.objects.raw(OPEN_TRIALS_QUERY, parameters))


def _first_step(evaluator: Evaluator, configuration: StudyConfiguration, progress: Progress) -> State:
    """Return what an evaluator with an open trial has to do first."""
    assert progress.trial is not None
    if configuration.introduction and evaluator.introduced_at is None:
        return State.INSTRUCTIONS
    if progress.trial.kind == Trial.Kind.PRACTICE:
        return State.PRACTICE
    if configuration.comprehension and evaluator.comprehension_passed_at is None:
        return State.COMPREHENSION
    every, answers = configuration.break_every, progress.position - 1
    if every and answers and answers % every == 0 and answers // every > evaluator.breaks_taken:
        return State.BREAK
    if configuration.runs and progress.trial.criterion != evaluator.told_criterion:
        return State.QUESTION
    return State.TRIAL


def _numbered(trial: Trial, ahead: Sequence[Trial] = (), corrects: Rating | None = None) -> Progress:
    """Return the progress before a trial that ``TRIAL_QUERY`` read, with the trial's number among its kind."""
    row = vars(trial)
    practice = trial.kind == Trial.Kind.PRACTICE
    return Progress(
        State.PRACTICE if practice else State.TRIAL,
        trial,
        row["prompt_text"],
        row["number"],
        row["showings"],
        1 + row["follower_number"],
        1 + row["follower_count"],
        _uuid(row["lead_public_id"]),
        ahead,
        corrects,
    )


def _uuid(value: uuid.UUID | str | None) -> uuid.UUID | None:
    """Return what a raw query gave for a UUID column: text on SQLite, a UUID on PostgreSQL."""
    return uuid.UUID(value) if isinstance(value, str) else value


def last_answer_of(evaluator: Evaluator, progress: Progress) -> Progress:
    """Return the progress at the last answered trial, to correct it; ``progress`` itself where there is none.

    Changes nothing.
    """
    if progress.state not in (State.TRIAL, State.BREAK):
        return progress
    rating = (
        Rating.objects.filter(evaluator=evaluator, superseded=False)
        .exclude(trial__kind=Trial.Kind.PRACTICE)
        .order_by("-sequence")
        .first()
    )
    if rating is None:
        return progress
    [trial] = Trial.objects.raw(f"{TRIAL_QUERY} WHERE trial.id = %(trial)s", {"trial": rating.trial_id})
    return _numbered(trial, corrects=rating)


def note_shown(progress: Progress) -> None:
    """Record when the open trial was first served; called where a POST serves it, never by a GET."""
    if progress.rates and progress.trial is not None and progress.trial.shown_at is None:
        Trial.objects.filter(pk=progress.trial.pk, shown_at=None).update(shown_at=timezone.now())


def finish_if_done(evaluator: Evaluator, progress: Progress) -> None:
    """Record when the last trial was answered."""
    if progress.state == State.FINISHED and evaluator.finished_at is None:
        Evaluator.objects.filter(pk=evaluator.pk, finished_at=None).update(finished_at=timezone.now())
