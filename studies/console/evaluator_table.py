"""What the page of a study says of its evaluators, in a number of queries that does not grow with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q

from evenhand.studies.access import completion_code, enrolment_link, link_for
from evenhand.studies.assignment.reassignment import gone
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import CheckPair, Evaluator, Exclusion, Rating, Skip, Study, Trial
from evenhand.studies.procedure import PROLIFIC

LISTED = 200  # evaluators on a page
SUSPECT_FROM, SUSPECT_SHARE = 5, 0.3  # answers to a check, and failures among them, that make the check itself suspect


@dataclass
class Line:
    """One evaluator, as the page shows them."""

    person: Evaluator
    link: str
    code: str
    introduced: bool = False  # the study has something before the trials: instructions, practice, a check
    silent: bool = False
    exclusion: Exclusion | None = None
    of: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def state(self) -> str:
        """Where they stand, in a word or two."""
        person = self.person
        for at, name in (
            (person.withdrawn_at, "withdrawn"),
            (person.screened_out_at, "screened out"),
            (person.finished_at, "finished"),
        ):
            if at is not None:
                return name
        if person.consented_at is None:
            return "invited"
        if self.silent:
            return "silent"
        return "rating" if self.counts["rated"] or self.counts["seen"] or not self.introduced else "instructions"

    @property
    def flag(self) -> str:
        """Why somebody should look at this evaluator; empty if nothing speaks against them."""
        failed, checks = self.counts["failed"], self.counts["attention"]
        return f"failed {failed} of {checks} attention check{'s' if checks != 1 else ''}" if failed else ""

    @property
    def steady(self) -> str:
        """How many repeated pairs got an answer for the same picture, or twice none."""
        return f"{self.counts['same']} of {self.counts['repeated']}" if self.counts["repeated"] else ""


def people(study: Study, configuration: StudyConfiguration, number: str | None = None) -> dict[str, Any]:
    """The Evaluators chapter's context, with one page of the evaluators."""
    everybody = Evaluator.objects.filter(study=study)
    page = Paginator(everybody.order_by("simulated", "-pk"), LISTED).get_page(number)
    introduced = bool(configuration.introduction or configuration.practice_trials or configuration.comprehension)
    listed = {
        person.pk: Line(person, link_for(person), completion_code(person, configuration.completion_code), introduced)
        for person in page
    }
    _count_trials(listed)
    checks, flagged = _read_answers(study, listed)
    for pk in gone(study).filter(pk__in=listed).values_list("pk", flat=True):
        listed[pk].silent = True
    for exclusion in Exclusion.objects.filter(study=study, evaluator__in=listed, lifted_at=None):
        assert exclusion.evaluator_id is not None  # filtered so
        listed[exclusion.evaluator_id].exclusion = exclusion
    counts = everybody.aggregate(
        invited=Count("pk"),
        begun=Count("pk", filter=Q(consented_at__isnull=False)),
        finished=Count("pk", filter=Q(finished_at__isnull=False)),
        simulated=Count("pk", filter=Q(simulated=True)),
    )
    skips = Skip.objects.filter(trial__booklet__study=study)
    skipped = skips.aggregate(
        reported=Count("pk", filter=Q(reason=Skip.Reason.REPORT)),
        skipped=Count("pk", filter=Q(reason=Skip.Reason.SKIP)),
    )
    reports = skips.filter(reason=Skip.Reason.REPORT).select_related("trial__pair__prompt", "trial__check_pair__prompt")
    link = enrolment_link(study)
    return {
        "people": list(listed.values()),
        "counts": counts | skipped,
        "reports": reports.order_by("-pk")[:LISTED],
        "people_page": page,
        "flagged_people": flagged,
        "suspect_checks": checks,
        "enrolment_link": link,
        "panel_link": f"{link}?{panel_query(configuration)}",
    }


def panel_query(configuration: StudyConfiguration) -> str:
    """The panel's parameters with the placeholders that Prolific fills in; another panel's are named after them."""
    names = configuration.panel_parameters
    if names == PROLIFIC:
        return "&".join(f"{name}={{{{%{name}%}}}}" for name in names)
    return "&".join(f"{name}=…" for name in names)


def _count_trials(listed: dict[int, Line]) -> None:
    main = Q(kind=Trial.Kind.MAIN, released=False)
    seen = ~Q(kind=Trial.Kind.PRACTICE) & Q(shown_at__isnull=False)
    rows = Trial.objects.filter(booklet__evaluator__in=listed).values("booklet__evaluator").order_by()
    for row in rows.annotate(of=Count("pk", filter=main), skipped=Count("skip"), seen=Count("pk", filter=seen)):
        line = listed[row["booklet__evaluator"]]
        line.of, line.counts["skipped"], line.counts["seen"] = row["of"], row["skipped"], row["seen"]


def _read_answers(study: Study, listed: dict[int, Line]) -> tuple[list[dict[str, Any]], int]:
    """Count every listed evaluator's answers.

    Returns the checks that so many failed that they are suspect, and how many evaluators, listed or not, failed any.
    """
    current = Rating.objects.filter(evaluator__study=study, superseded=False, deleted_at=None).select_related("trial")
    main = {(rating.evaluator_id, rating.trial_id): rating.preference for rating in current.filter(trial__kind="main")}
    answered: dict[int, Counter[bool]] = defaultdict(Counter)
    careless: set[int] = set()
    for evaluator, _ in main:
        if evaluator in listed:
            listed[evaluator].counts["rated"] += 1
    for rating in current.filter(trial__kind__in=("attention", "repeat")):
        trial, counts = rating.trial, listed[rating.evaluator_id].counts if rating.evaluator_id in listed else Counter()
        if trial.kind == Trial.Kind.REPEAT:
            first = main.get((rating.evaluator_id, trial.repeat_of_id or 0))
            if first is not None and rating.preference is not None:
                counts["repeated"] += 1
                counts["same"] += _sign(first) == _sign(rating.preference)
            continue
        failed = _sign(rating.choice or 0) != trial.expected_choice
        counts["attention"] += 1
        counts["failed"] += failed
        answered[trial.check_pair_id or 0][failed] += 1
        if failed:
            careless.add(rating.evaluator_id)
    suspect = {
        pk: counts
        for pk, counts in answered.items()
        if counts.total() >= SUSPECT_FROM and counts[True] > SUSPECT_SHARE * counts.total()
    }
    pairs = CheckPair.objects.filter(pk__in=suspect).select_related("prompt")
    told = [{"pair": pair, "failed": suspect[pair.pk][True], "of": suspect[pair.pk].total()} for pair in pairs]
    return told, len(careless)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
