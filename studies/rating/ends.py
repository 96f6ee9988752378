"""Decide at which end somebody stands, and what a panel's participant gets there: a code, and the way back.

A completion code means work done: the full one is for whoever has done all that was asked of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from evenhand.studies.access import completion_code
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Evaluator, Rating, Skip, Trial
from evenhand.studies.panels import CODE, EndReturn, filled
from evenhand.studies.unusable_pairs import marks_in_force

JUST_FINISHED = timedelta(seconds=30)  # after the last answer, where the study redirects at once


@dataclass(frozen=True)
class Work:
    """What an evaluator has done of the pairs dealt, practice left out.

    asked     pairs, with those that others were given or answered first
    done      pairs answered, skipped or reported
    answered  main trials with an answer
    lost      pairs given to others before they were done
    """

    asked: int = 0
    done: int = 0
    answered: int = 0
    lost: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing was lost and something was answered. A pair that others answered first was not asked."""
        return self.lost == 0 and self.answered > 0


@dataclass(frozen=True)
class End:
    """One end as it is shown. ``code`` and ``return_to`` are empty where there is none, or nobody's panel is known."""

    name: str
    code: str = ""
    return_to: str = ""
    from_panel: bool = False


def from_panel(evaluator: Evaluator) -> bool:
    """Whether an evaluator came by a panel's link."""
    return bool(evaluator.external_key or evaluator.external_hmac)


def lost_trials() -> QuerySet[Trial]:
    """Return the trials that others were given before their evaluators had done them.

    What others are given after an evaluator's last answer, as of a pair whose mark was taken back, is no loss.
    """
    later = Trial.objects.filter(
        replaces=OuterRef("pk"), booklet__claimed_at__gt=OuterRef("booklet__evaluator__finished_at")
    )
    return Trial.objects.filter(
        ~Exists(Rating.objects.filter(trial=OuterRef("pk"), superseded=False)),
        ~Exists(marks_in_force().filter(pair=OuterRef("pair"))),
        ~Exists(later),
        released=True,
        skip=None,
    )


def work_of(evaluator: Evaluator) -> Work:
    """Count what an evaluator has done."""
    own = Rating.objects.filter(trial=OuterRef("pk"), superseded=False)
    other = Rating.objects.filter(slot=OuterRef("slot"), superseded=False).exclude(evaluator=evaluator)
    trials = (
        Trial.objects.filter(booklet__evaluator=evaluator)
        .exclude(kind=Trial.Kind.PRACTICE)
        .annotate(
            answered=Exists(own),
            skipped=Exists(Skip.objects.filter(trial=OuterRef("pk"))),
            taken=Exists(other),
            unusable=Exists(marks_in_force().filter(pair=OuterRef("pair"))),
            lost=Exists(lost_trials().filter(pk=OuterRef("pk"))),
        )
    )
    by_pair: dict[int, list[Trial]] = defaultdict(list)
    for trial in trials.order_by("position"):
        by_pair[trial.lead_id or trial.pk].append(trial)
    states = [_state_of(group) for group in by_pair.values()]
    return Work(
        asked=len(states) - states.count("unasked"),
        done=states.count("done"),
        answered=sum(
            vars(trial)["answered"] for group in by_pair.values() for trial in group if trial.kind == Trial.Kind.MAIN
        ),
        lost=states.count("lost"),
    )


def _state_of(group: list[Trial]) -> str:
    """Return what became of the trials of one pair: done, lost, taken, open, or unasked."""
    open_trials = [trial for trial in group if not vars(trial)["answered"] and not vars(trial)["skipped"]]
    if not open_trials:
        return "done"
    if any(vars(trial)["unusable"] for trial in open_trials):
        return "unasked"
    if any(vars(trial)["lost"] for trial in open_trials):
        return "lost"
    if any(trial.released or vars(trial)["taken"] for trial in open_trials):
        return "taken"
    return "unasked" if open_trials[0].kind == Trial.Kind.REPEAT else "open"


def end_of(evaluator: Evaluator, configuration: StudyConfiguration, name: str) -> End:
    """Return what an evaluator gets at the end ``name``; a later submission after it gets what “already” gets."""
    if not from_panel(evaluator):
        return End(name)
    if name in ("finished", "partial", "screened_out", "withdrawn") and _came_again(evaluator):
        again = _return_of(configuration, "already")
        if again is not None:
            name = "already"
    return _end(configuration, name, _code_of(evaluator, configuration, name), evaluator.external_key or "")


def end_of_visitor(configuration: StudyConfiguration, name: str, ids: Mapping[str, str]) -> End:
    """Return what somebody gets who is nobody in the study yet, by the panel's ids of the link."""
    if not ids:
        return End(name)
    known = _return_of(configuration, name)
    return _end(configuration, name, known.code if known else "", ids[configuration.panel_parameters[0]])


def returns_at_once(evaluator: Evaluator, configuration: StudyConfiguration, end: End) -> bool:
    """Whether the end page goes to the return address by itself: once, right after the last answer."""
    finished = evaluator.finished_at
    return (
        configuration.redirect_at_once
        and end.name == "finished"
        and bool(end.return_to)
        and finished is not None
        and timezone.now() - finished < JUST_FINISHED
    )


def code_of(evaluator: Evaluator, configuration: StudyConfiguration, name: str) -> str:
    """Return the code that an evaluator is shown at an end, for the study admin; empty where there is none."""
    return end_of(evaluator, configuration, name).code


def _code_of(evaluator: Evaluator, configuration: StudyConfiguration, name: str) -> str:
    if name != "finished":
        known = _return_of(configuration, name)
        return known.code if known else ""
    url = configuration.completion_url
    if not configuration.completion_code and url and CODE not in url:
        return ""  # the address alone tells the panel
    return completion_code(evaluator, configuration.completion_code)


def _end(configuration: StudyConfiguration, name: str, code: str, person: str) -> End:
    """Return an end with its return address: its own, or with a code of its own the study's usual one."""
    known = _return_of(configuration, name)
    url = known.url if known and known.url else ""
    if not url and (name == "finished" or (code and CODE in configuration.completion_url)):
        url = configuration.completion_url
    return End(name, code, filled(url, code=code, person=person), from_panel=True)


def _return_of(configuration: StudyConfiguration, name: str) -> EndReturn | None:
    return next((each for each in configuration.end_returns if each.end == name), None)


def _came_again(evaluator: Evaluator) -> bool:
    """Whether somebody has come with a later submission since the end."""
    ended = min(filter(None, (evaluator.finished_at, evaluator.screened_out_at, evaluator.withdrawn_at)), default=None)
    if ended is None:
        return False
    return any(datetime.fromisoformat(visit["at"]) > ended for visit in evaluator.later_ids)
