"""Give the trials that evaluators left behind to somebody else, in a short booklet.

A slot is one rating wanted of a pair: every trial of a full booklet has one of its own. A trial left behind is
released, and a new trial takes over its slot; the database lets each slot be filled once, whoever answers first. Trials
are released only when another evaluator needs them, so that a silent evaluator may still come back.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from evenhand.studies.assignment.pairs import PairCell, Showing
from evenhand.studies.assignment.stock import Stock
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.exclusions import all_given_away
from evenhand.studies.models import AuditEvent, Booklet, Evaluator, Rating, Skip, Study, Trial
from evenhand.studies.unusable_pairs import marks_in_force


class RaceLost(Exception):
    """Another evaluator was given one of the same trials at the same moment; the caller should try again."""


def absent_evaluators(study: Study) -> QuerySet[Evaluator]:
    """Return whose open trials others may be given.

    They have finished, withdrawn, been screened out or been silent for longer than the lease, counted anew from where
    a paused study went on; or the study admin has freed their pairs.
    """
    lease_start = timezone.now() - timedelta(minutes=configuration_of(study).lease_minutes)
    answers = Rating.objects.filter(evaluator=OuterRef("pk")).order_by("-sequence").values("rated_at")
    showings = (
        Trial.objects.filter(booklet__evaluator=OuterRef("pk"), shown_at__isnull=False)
        .order_by("-shown_at")
        .values("shown_at")
    )
    return (
        Evaluator.objects.filter(study=study, booklet__isnull=False)
        .annotate(
            last_answer=Subquery(answers[:1]),
            last_shown=Subquery(showings[:1]),
            resumed=Subquery(resumptions(study).values("at")[:1]),
        )
        .annotate(
            last_sign=Greatest(
                "booklet__claimed_at",
                Coalesce("last_answer", "booklet__claimed_at"),
                Coalesce("last_shown", "booklet__claimed_at"),
                Coalesce("resumed", "booklet__claimed_at"),
            )
        )
        .filter(
            Q(finished_at__isnull=False)
            | Q(withdrawn_at__isnull=False)
            | Q(screened_out_at__isnull=False)
            | Q(freed_at__isnull=False)
            | Q(last_sign__lt=lease_start)
        )
    )


def resumptions(study: Study) -> QuerySet[AuditEvent]:
    """Return the times at which a paused study went on, the latest first."""
    return AuditEvent.objects.filter(study=study, action="resumed").order_by("-at")


def trials_left_behind(study: Study, *, simulated: bool = False) -> QuerySet[Trial]:
    """Return main trials whose slot stays empty unless somebody else is given it: a person, or a simulation.

    A finished evaluator leaves one behind where another filled its slot first and withdrew later. A skipped trial is
    not left behind, because its evaluator has decided about it, unless the evaluator has withdrawn or is left out; nor
    is one that was reported, or one of an unusable pair.
    """
    rating_of_slot = Rating.objects.filter(slot=OuterRef("slot"), superseded=False)
    reports = Skip.objects.filter(reason=Skip.Reason.REPORT).annotate(showing=Coalesce("trial__lead", "trial"))
    gone = Q(booklet__evaluator__withdrawn_at__isnull=False) | all_given_away("booklet__evaluator__")
    return Trial.objects.filter(
        Q(skip=None) | (Q(skip__reason=Skip.Reason.SKIP) & gone),
        ~Exists(reports.filter(showing=Coalesce(OuterRef("lead"), OuterRef("pk")))),
        ~Exists(rating_of_slot),
        ~Exists(marks_in_force().filter(pair=OuterRef("pair"))),
        booklet__evaluator__in=absent_evaluators(study).values("pk"),
        booklet__simulated=simulated,
        booklet__pilot=False,
        kind=Trial.Kind.MAIN,
        released=False,
    )


def reassign(evaluator: Evaluator) -> Booklet | None:
    """Make a booklet of trials left behind, no prompt twice; None where there are none. Raises ``RaceLost``.

    What a pilot's people leave behind is given to nobody, and they are given nothing of others.
    """
    study = evaluator.study
    if evaluator.pilot:
        return None
    configuration = configuration_of(study)
    groups = _groups_left_behind(evaluator, configuration)
    if not groups:
        return None
    trials = [trial for group in groups for trial in group]
    with transaction.atomic():
        released = Trial.objects.filter(pk__in=[trial.pk for trial in trials], released=False).update(released=True)
        if released < len(trials):
            raise RaceLost
        booklet = Booklet.objects.create(
            study=study,
            simulated=evaluator.simulated,
            block=0,
            number=None,
            remainder=True,
            evaluator=evaluator,
            claimed_at=timezone.now(),
        )
        rng = np.random.default_rng([configuration.seed, booklet.pk, 3])
        showings = [_showing(groups[int(i)], configuration) for i in rng.permutation(len(groups))]
        showings.sort(key=lambda showing: showing.cell.criterion)  # runs; the order within each stays
        stock = Stock(study, configuration)
        stock.write({booklet: stock.items(showings, rng)}, {trial.pk: trial.slot for trial in trials})
    return booklet


def _groups_left_behind(evaluator: Evaluator, configuration: StudyConfiguration) -> list[list[Trial]]:
    """Return trials left behind in groups that show the same pictures: one a prompt, as many as an evaluator gets."""
    by_prompt: dict[int, list[Trial]] = {}
    left_behind = trials_left_behind(evaluator.study, simulated=evaluator.simulated)
    for trial in left_behind.select_related("pair__comparison").order_by("booklet", "position"):
        assert trial.pair is not None  # a main trial has one
        group = by_prompt.get(trial.pair.prompt_id)
        if group is None and len(by_prompt) < configuration.trials_per_evaluator:
            by_prompt[trial.pair.prompt_id] = [trial]
        elif group is not None and trial.lead_id is not None and trial.lead_id in (group[0].pk, group[0].lead_id):
            group.append(trial)
    return list(by_prompt.values())


def _showing(group: list[Trial], configuration: StudyConfiguration) -> Showing:
    """Return the showing that replaces trials of the same pictures."""
    first = group[0]
    assert first.pair is not None
    assert first.candidate_on_left is not None
    run = first.criterion if configuration.runs else 0
    cell = PairCell(first.pair.pk, first.pair.comparison.position, first.pair.stratum, first.pair.prompt_id, run)
    criteria = tuple(trial.criterion for trial in group)
    return Showing(cell, first.candidate_on_left, criteria, tuple(trial.pk for trial in group))
