"""Count what comes in while a study collects: places, people by state, ratings by cell, signs of trouble.

Each function asks the database once, for any number of studies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median

from django.db.models import Count, F, Max, Q, Subquery
from django.utils import timezone

from evenhand.studies.assignment.reassignment import resumptions
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Evaluator, Pair, Rating, Study, Trial
from evenhand.studies.results.flags import FAST_MS
from evenhand.studies.unusable_pairs import marks_in_force

LATEST = 2000  # answers that the median time is taken of
STATES = ("invited", "rating", "silent", "finished", "screened out", "withdrawn")


@dataclass(frozen=True)
class Cell:
    """Counted answers of people to one comparison in one stratum by one criterion."""

    comparison: int
    stratum: str
    criterion: int
    answers: int
    on_left: int  # of them with the candidate on the left
    fast: int  # under 300 ms, or without a time


@dataclass(frozen=True)
class Answered:
    """What one person has answered, as the database holds it.

    numbered: the highest number that an answer of theirs was given when it was acknowledged; stored: how many there
    are.
    """

    evaluator: int
    stored: int
    numbered: int
    main: int
    fast: int
    checks: int
    failed: int
    last: datetime | None

    @property
    def missing(self) -> int:
        """Return how many acknowledged answers are not there."""
        return max(0, self.numbered - self.stored)


@dataclass
class StateLine:
    """People of one state: how many, when the last of them did something, their median seconds an answer."""

    state: str
    count: int = 0
    last: datetime | None = None
    seconds: float | None = None
    times: list[int] = field(default_factory=list)

    def add(self, at: datetime | None) -> None:
        """Count a person who was last active at ``at``."""
        self.count += 1
        self.last = max(filter(None, (self.last, at)), default=None)


def cells_of(studies: Iterable[Study]) -> dict[int, list[Cell]]:
    """Count the current, counted answers of people, by study and cell."""
    fast = Q(elapsed_ms__lt=FAST_MS) | Q(elapsed_ms=None)
    rows = (
        Rating.objects.filter(
            evaluator__study__in=list(studies),
            evaluator__simulated=False,
            evaluator__pilot=False,
            trial__kind=Trial.Kind.MAIN,
            superseded=False,
            deleted_at=None,
            slot__isnull=False,
        )
        .exclude(trial__pair__in=marks_in_force().values("pair"))
        .order_by()
        .values_list(
            "evaluator__study", "trial__pair__comparison__position", "trial__pair__stratum", "trial__criterion"
        )
        .annotate(
            answers=Count("pk"),
            on_left=Count("pk", filter=Q(trial__candidate_on_left=True)),
            fast=Count("pk", filter=fast),
        )
    )
    found: dict[int, list[Cell]] = defaultdict(list)
    for study, *values in sorted(rows):
        found[study].append(Cell(*values))
    return found


def answered_by(studies: Iterable[Study]) -> dict[int, list[Answered]]:
    """Count what each person has answered, by study; simulated evaluators are left out."""
    current = Q(superseded=False, deleted_at=None)
    main = current & Q(trial__kind=Trial.Kind.MAIN)
    checks = current & Q(trial__kind=Trial.Kind.ATTENTION, trial__expected_choice__isnull=False)
    passed = Q(trial__expected_choice=1, choice__gt=0) | Q(trial__expected_choice=-1, choice__lt=0)
    rows = (
        Rating.objects.filter(evaluator__study__in=list(studies), evaluator__simulated=False, evaluator__pilot=False)
        .order_by()
        .values_list("evaluator__study", "evaluator")
        .annotate(
            stored=Count("pk"),
            numbered=Max("sequence"),
            main=Count("pk", filter=main),
            fast=Count("pk", filter=main & (Q(elapsed_ms__lt=FAST_MS) | Q(elapsed_ms=None))),
            checks=Count("pk", filter=checks),
            failed=Count("pk", filter=checks & ~passed),
            last=Max("rated_at"),
        )
    )
    found: dict[int, list[Answered]] = defaultdict(list)
    for study, *values in rows:
        found[study].append(Answered(*values))
    return found


def people_of(study: Study, configuration: StudyConfiguration, answered: list[Answered]) -> tuple[list[StateLine], int]:
    """Count people by state, in the order of ``STATES`` without those of nobody, and the places that are taken.

    Nobody has been silent for longer than a paused study goes on again. Two queries.
    """
    last_answers = {each.evaluator: each.last for each in answered}
    silent_before = timezone.now() - timedelta(minutes=configuration.lease_minutes)
    lines = {name: StateLine(name) for name in STATES}
    state_by_person: dict[int, str] = {}
    people = (
        Evaluator.objects.filter(study=study, simulated=False, pilot=False)
        .order_by()
        .values_list("pk", "consented_at", "finished_at", "screened_out_at", "withdrawn_at", "created_at")
        .annotate(
            place=F("booklet__number"),
            claimed=F("booklet__claimed_at"),
            shown=Max("booklet__trials__shown_at"),
            resumed=Subquery(resumptions(study).values("at")[:1]),
        )
    )
    places = 0
    for pk, consented, finished, screened_out, withdrawn, created, place, claimed, shown, resumed in people:
        places += place is not None
        last = max(filter(None, (last_answers.get(pk), shown, claimed, consented, created)))
        ended = [(withdrawn, "withdrawn"), (screened_out, "screened out"), (finished, "finished")]
        since = max(filter(None, (last, resumed)))
        state = next((name for at, name in ended if at), None) or _open_state(consented, since, silent_before)
        lines[state].add(last)
        state_by_person[pk] = state
    latest = Rating.objects.filter(
        evaluator__study=study,
        evaluator__simulated=False,
        evaluator__pilot=False,
        trial__kind=Trial.Kind.MAIN,
        elapsed_ms__isnull=False,
    ).order_by("-pk")
    for evaluator, elapsed in latest.values_list("evaluator", "elapsed_ms")[:LATEST]:
        lines[state_by_person[evaluator]].times.append(elapsed or 0)
    for line in lines.values():
        line.seconds = median(line.times) / 1000 if line.times else None
    return [line for line in lines.values() if line.count], places


def _open_state(consented: datetime | None, last: datetime, silent_before: datetime) -> str:
    if consented is None:
        return "invited"
    return "silent" if last < silent_before else "rating"


def wanted_by_cell(study: Study, configuration: StudyConfiguration) -> dict[tuple[int, str], float]:
    """Return how many answers by one criterion the quota means for each comparison and stratum.

    They follow from the pairs; an unusable pair wants none, and nobody gets another one in its place.
    """
    runs = len(configuration.criteria) if configuration.runs else 1
    answers = configuration.quota * configuration.trials_per_evaluator / runs
    rows = Pair.objects.filter(comparison__study=study).order_by().values_list("comparison__position", "stratum")
    usable = Count("pk", filter=~Q(pk__in=marks_in_force(study).values("pair")))
    pairs = {row[:2]: row[2:] for row in rows.annotate(count=Count("pk"), usable=usable)}
    total = sum(count for count, _ in pairs.values())
    return {cell: answers * usable / total for cell, (_, usable) in sorted(pairs.items())}
