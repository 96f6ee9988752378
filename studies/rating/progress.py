"""Where an evaluator stands: what is still open, and what has to be done first."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.utils import timezone

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Rating, Study, Trial

PRELOADED = 2  # trials whose pictures the page may fetch ahead

# These queries run at every answer, and are written by hand: Django takes longer to compile them than PostgreSQL to run
# them, and with joins instead of subqueries PostgreSQL would plan for longer than it runs (docs/performance.md).
SHOWN = """
SELECT trial.*,
       (SELECT prompt.text FROM studies_prompt prompt WHERE prompt.id = coalesce(
           (SELECT pair.prompt_id FROM studies_pair pair WHERE pair.id = trial.pair_id),
           (SELECT made.prompt_id FROM studies_checkpair made WHERE made.id = trial.check_pair_id))) AS prompt_text,
       (SELECT count(*) FROM studies_trial other
         WHERE other.booklet_id = trial.booklet_id AND NOT other.released) AS all_trials,
       (SELECT count(*) FROM studies_trial other
         WHERE other.booklet_id = trial.booklet_id AND NOT other.released AND other.kind = 'practice') AS practice
  FROM studies_trial trial
"""
OPEN = (
    SHOWN  # noqa: S608 (two constants)
    + """
  JOIN studies_booklet booklet ON booklet.id = trial.booklet_id
 WHERE booklet.evaluator_id = %(evaluator)s AND NOT trial.released
   AND NOT EXISTS (SELECT 1 FROM studies_skip skip WHERE skip.trial_id = trial.id)
   AND NOT EXISTS (SELECT 1 FROM studies_rating own WHERE own.trial_id = trial.id AND NOT own.superseded)
   AND NOT EXISTS (SELECT 1 FROM studies_rating other WHERE other.slot = trial.slot AND NOT other.superseded)
   AND (trial.repeat_of_id IS NULL
        OR trial.repeat_of_id = (SELECT now.id FROM studies_trial now WHERE now.public_id = %(answering)s)
        OR EXISTS (SELECT 1 FROM studies_rating own WHERE own.trial_id = trial.repeat_of_id AND NOT own.superseded))
 ORDER BY trial.position LIMIT %(most)s
"""
)


@dataclass(frozen=True)
class Standing:
    """Where an evaluator stands.

    ``state``: consent, instructions, practice, comprehension, trial, break, finished, not_open, paused, closed,
    withdrawn or screened_out. In the states instructions and break, ``trial`` is the one that comes next.
    """

    state: str
    trial: Trial | None = None
    prompt: str = ""
    position: int = 0  # of the trial among ``of``; practice is numbered apart
    of: int = 0
    ahead: Sequence[Trial] = ()
    corrects: Rating | None = None  # the answer that the trial is shown again for

    @property
    def rates(self) -> bool:
        """Whether a trial is open for an answer."""
        return self.state in ("trial", "practice")


def standing_of(evaluator: Evaluator, trials: Sequence[Trial] | None = None) -> Standing:
    """Where an evaluator stands; changes nothing. trials: what ``open_trials`` gives, where that is known."""
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
    if trials is None:
        trials = open_trials(evaluator)
    if not trials:
        return Standing("finished")
    standing = _numbered(trials[0], trials[1 : 1 + PRELOADED])
    return replace(standing, state=_step(evaluator, configuration_of(evaluator.study), standing))


def open_trials(evaluator: Evaluator, answering: uuid.UUID | None = None) -> list[Trial]:
    """The next few of the evaluator's trials that are neither answered nor skipped, and whose slot is not filled.

    A repeat opens with its pair's answer: what was skipped, or given to somebody else, is not asked again.
    answering: the public id of a trial that counts as answered in this.
    """
    known = {
        "evaluator": evaluator.pk,
        "answering": answering.hex if answering else None,
        "most": 1 + 1 + PRELOADED,  # the one that is answered, the next one, and those behind it
    }
    return list(Trial.objects.raw(OPEN, known))


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


def _numbered(trial: Trial, ahead: Sequence[Trial] = (), corrects: Rating | None = None) -> Standing:
    """The standing in front of a trial that ``SHOWN`` read."""
    read = vars(trial)
    if trial.kind == Trial.Kind.PRACTICE:
        return Standing("practice", trial, read["prompt_text"], trial.position, read["practice"], ahead, corrects)
    of = read["all_trials"] - read["practice"]
    position = min(of, trial.position - read["practice"])
    return Standing("trial", trial, read["prompt_text"], position, of, ahead, corrects)


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
    [trial] = Trial.objects.raw(f"{SHOWN} WHERE trial.id = %(trial)s", {"trial": last.trial_id})
    return _numbered(trial, corrects=last)


def note_shown(standing: Standing) -> None:
    """Remember when the open trial was first served; called where a POST serves it, never by a GET."""
    if standing.rates and standing.trial is not None and standing.trial.shown_at is None:
        Trial.objects.filter(pk=standing.trial.pk, shown_at=None).update(shown_at=timezone.now())


def finish_if_done(evaluator: Evaluator, standing: Standing) -> None:
    """Remember when the last trial was answered."""
    if standing.state == "finished" and evaluator.finished_at is None:
        Evaluator.objects.filter(pk=evaluator.pk, finished_at=None).update(finished_at=timezone.now())
