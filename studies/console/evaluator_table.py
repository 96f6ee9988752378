"""Collect what the console shows of a study's evaluators, in a constant number of queries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from evenhand.studies.access import enrolment_link, link_for
from evenhand.studies.assignment.reassignment import absent_evaluators
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.exclusions import all_given_away
from evenhand.studies.models import CheckPair, Evaluator, Exclusion, Rating, Skip, Study, Trial
from evenhand.studies.panels import PRESETS, preset_of
from evenhand.studies.rating.ends import code_of, lost_trials
from evenhand.studies.results import flags

REPORTS_LISTED = 200
SUSPECT_FROM, SUSPECT_SHARE = 5, 0.3  # a check is suspect from so many answers with more than this share of failures


@dataclass
class Line:
    """One evaluator, as the page shows them."""

    person: Evaluator
    link: str
    code: str = ""  # that this person is shown; empty before an end, and for whoever came from no panel
    introduced: bool = False  # the study has instructions, practice or a comprehension check
    silent: bool = False
    marks: list[str] = field(default_factory=list)
    exclusion: Exclusion | None = None
    holds_places: bool = True  # of pairs, answered or not, that others could be given
    of: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def state(self) -> str:
        """Return the evaluator's state in a word or two."""
        person = self.person
        for at, name in (
            (person.withdrawn_at, "withdrawn"),
            (person.screened_out_at, "screened out"),
            (person.finished_at, "finished" if self.whole else "finished a part"),
        ):
            if at is not None:
                return name
        if person.consented_at is None:
            return "invited"
        if self.silent:
            return "silent"
        return "rating" if self.counts["rated"] or self.counts["seen"] or not self.introduced else "instructions"

    @property
    def whole(self) -> bool:
        """Whether nothing that was asked went to others, and something was answered."""
        return self.counts["lost"] == 0 and self.counts["rated"] > 0

    @property
    def end(self) -> str:
        """Return the end at which the evaluator stands; empty where it is not reached."""
        person = self.person
        if person.withdrawn_at is not None:
            return "withdrawn"
        if person.screened_out_at is not None:
            return "screened_out"
        if person.finished_at is not None:
            return "finished" if self.whole else "partial"
        return ""

    @property
    def flag(self) -> str:
        """Say why the admin should look at this evaluator; empty where there is no reason."""
        failed, checks = self.counts["failed"], self.counts["attention"]
        return f"failed {failed} of {checks} attention check{'s' if checks != 1 else ''}" if failed else ""

    @property
    def steady(self) -> str:
        """Say how many repeated pairs were answered for the same picture as before, or twice for neither."""
        return f"{self.counts['same']} of {self.counts['repeated']}" if self.counts["repeated"] else ""


def people_lines(study: Study, configuration: StudyConfiguration, people: Iterable[Evaluator]) -> list[Line]:
    """Return evaluators as the people page shows them, in their order."""
    introduced = bool(configuration.introduction or configuration.practice_trials or configuration.comprehension)
    lines = {person.pk: Line(person, link_for(person), introduced=introduced) for person in people}
    _count_trials(lines)
    _count_answers(Evaluator.objects.filter(pk__in=lines), lines)
    _mark_flagged(lines, configuration.smallest_picture)
    _mark_silent_and_excluded(study, lines)
    for line in lines.values():
        line.code = code_of(line.person, configuration, line.end) if line.end else ""
    return list(lines.values())


def evaluators_context(study: Study, configuration: StudyConfiguration) -> dict[str, Any]:
    """Return the context of the study page's Evaluators chapter."""
    evaluators = Evaluator.objects.filter(study=study, pilot=False)
    suspect_checks, flagged_count = _count_answers(evaluators, {})
    skips = Skip.objects.filter(trial__booklet__study=study)
    reports = skips.filter(reason=Skip.Reason.REPORT).select_related("trial__pair__prompt", "trial__check_pair__prompt")
    link, query = enrolment_link(study), panel_query(configuration)
    return {
        "counts": _totals(evaluators, skips),
        "reports": reports.order_by("-pk")[:REPORTS_LISTED],
        "flagged_people": flagged_count,
        "suspect_checks": suspect_checks,
        "enrolment_link": link,
        "panel_link": f"{link}?{query}" if query else link,
        "panel_advice": PRESETS[preset_of(configuration.panel, configuration.panel_parameters)].advice,
    }


def _totals(evaluators: QuerySet[Evaluator], skips: QuerySet[Skip]) -> dict[str, int]:
    """Count the study's evaluators by how far they have come, and its skipped and reported trials."""
    evaluator_counts = evaluators.aggregate(
        invited=Count("pk"),
        begun=Count("pk", filter=Q(consented_at__isnull=False)),
        finished=Count("pk", filter=Q(finished_at__isnull=False)),
        simulated=Count("pk", filter=Q(simulated=True)),
    )
    skip_counts = skips.aggregate(
        reported=Count("pk", filter=Q(reason=Skip.Reason.REPORT)),
        skipped=Count("pk", filter=Q(reason=Skip.Reason.SKIP)),
    )
    return evaluator_counts | skip_counts


def panel_query(configuration: StudyConfiguration) -> str:
    """Return the panel's parameters as a query, with its placeholders or “…”; empty where it appends them itself."""
    names = configuration.panel_parameters
    known = next((preset for preset in PRESETS.values() if preset.name and preset.parameters == names), None)
    return known.query if known else "&".join(f"{name}=…" for name in names)


def _count_trials(lines: dict[int, Line]) -> None:
    main = Q(kind=Trial.Kind.MAIN, released=False)
    seen = ~Q(kind=Trial.Kind.PRACTICE) & Q(shown_at__isnull=False)
    lost = Q(Exists(lost_trials().filter(pk=OuterRef("pk"))))
    rows = Trial.objects.filter(booklet__evaluator__in=lines).values("booklet__evaluator").order_by()
    counts = {
        "of": Count("pk", filter=main),
        "skipped": Count("skip"),
        "seen": Count("pk", filter=seen),
        "lost": Count("pk", filter=lost),
    }
    for evaluator, of, skipped, seen_trials, given_away in rows.annotate(**counts).values_list(
        "booklet__evaluator", *counts
    ):
        lines[evaluator].of = of
        lines[evaluator].counts.update(skipped=skipped, seen=seen_trials, lost=given_away)


def _mark_flagged(lines: dict[int, Line], smallest_picture: int) -> None:
    """Put the flags of the evaluators' answers into words."""
    ratings = flags.current(Evaluator.objects.filter(pk__in=lines))
    straight = flags.straight_lines(ratings)
    for pk, counts in flags.count_flags(ratings, smallest_picture).items():
        lines[pk].marks = flags.in_words(counts, straight.get(pk, ""))


def _mark_silent_and_excluded(study: Study, lines: dict[int, Line]) -> None:
    for pk in absent_evaluators(study).filter(pk__in=lines).values_list("pk", flat=True):
        lines[pk].silent = True
    given_away = Evaluator.objects.filter(all_given_away(), pk=OuterRef("evaluator"))
    in_force = Exclusion.objects.filter(study=study, evaluator__in=lines, lifted_at=None)
    for exclusion in in_force.annotate(given_away=Exists(given_away)):
        assert exclusion.evaluator_id is not None  # filtered so
        line = lines[exclusion.evaluator_id]
        line.exclusion = exclusion
        line.holds_places = not vars(exclusion)["given_away"]


def _count_answers(evaluators: QuerySet[Evaluator], lines: dict[int, Line]) -> tuple[list[dict[str, Any]], int]:
    """Count the answers of the evaluators in ``lines``.

    Returns the suspect checks, and how many of ``evaluators`` failed a check.
    """
    ratings = flags.current(evaluators).select_related("trial")
    preferences = (
        {(r.evaluator_id, r.trial_id): r.preference for r in ratings.filter(trial__kind="main")} if lines else {}
    )
    for evaluator, _ in preferences:
        if evaluator in lines:
            lines[evaluator].counts["rated"] += 1
    outcomes: dict[int, Counter[bool]] = defaultdict(Counter)  # by check pair; true: failed
    flagged_evaluators: set[int] = set()
    told = ratings.exclude(trial__kind="attention", trial__expected_choice=None)  # by a criterion that can tell
    for rating in told.filter(trial__kind__in=("attention", "repeat") if lines else ("attention",)):
        counts = lines[rating.evaluator_id].counts if rating.evaluator_id in lines else Counter()
        if rating.trial.kind == Trial.Kind.REPEAT:
            _count_repeat(rating, preferences, counts)
            continue
        failed = _sign(rating.choice or 0) != rating.trial.expected_choice
        counts["attention"] += 1
        counts["failed"] += failed
        outcomes[rating.trial.check_pair_id or 0][failed] += 1
        if failed:
            flagged_evaluators.add(rating.evaluator_id)
    return _suspect_checks(outcomes), len(flagged_evaluators)


def _count_repeat(rating: Rating, preferences: dict[tuple[int, int], int | None], counts: Counter[str]) -> None:
    """Count a repeat, and whether it agrees with the first answer to its pair."""
    first = preferences.get((rating.evaluator_id, rating.trial.repeat_of_id or 0))
    if first is not None and rating.preference is not None:
        counts["repeated"] += 1
        counts["same"] += _sign(first) == _sign(rating.preference)


def _suspect_checks(outcomes: dict[int, Counter[bool]]) -> list[dict[str, Any]]:
    """Return the checks that so many evaluators failed that the check itself may be wrong."""
    suspects = {
        pk: counts
        for pk, counts in outcomes.items()
        if counts.total() >= SUSPECT_FROM and counts[True] > SUSPECT_SHARE * counts.total()
    }
    if not suspects:
        return []
    pairs = CheckPair.objects.filter(pk__in=suspects).select_related("prompt")
    return [{"pair": pair, "failed": suspects[pair.pk][True], "of": suspects[pair.pk].total()} for pair in pairs]


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
