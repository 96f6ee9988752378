"""What evaluators leave behind becomes a short booklet for somebody else.

A slot is one rating wanted of a pair: every trial of a full booklet has one of its own. A trial left behind is
released, and a new trial takes over its slot; the database lets each slot be filled once, whoever answers first.
Nothing is taken from anybody before somebody else needs it.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from evenhand.studies.assignment.booklets import Stock
from evenhand.studies.assignment.pairs import PairCell, Showing
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Booklet, Evaluator, Rating, Study, Trial


class RaceLost(Exception):
    """Somebody else took one of the same trials at the same moment: look again."""


def gone(study: Study) -> QuerySet[Evaluator]:
    """Who will not go on: finished, withdrawn, screened out, or silent for longer than the lease."""
    silent = timezone.now() - timedelta(minutes=configuration_of(study).lease_minutes)
    return (
        Evaluator.objects.filter(study=study, booklet__isnull=False)
        .annotate(last_answer=Max("ratings__rated_at"), last_shown=Max("booklet__trials__shown_at"))
        .annotate(
            heard_of=Greatest(
                "booklet__claimed_at",
                Coalesce("last_answer", "booklet__claimed_at"),
                Coalesce("last_shown", "booklet__claimed_at"),
            )
        )
        .filter(
            Q(finished_at__isnull=False)
            | Q(withdrawn_at__isnull=False)
            | Q(screened_out_at__isnull=False)
            | Q(heard_of__lt=silent)
        )
    )


def left_behind(study: Study) -> QuerySet[Trial]:
    """Main trials whose slot nobody fills any more, unless somebody else is given it.

    Somebody who has finished leaves one behind whose slot was filled by another, who withdrew later. A trial that was
    skipped is settled.
    """
    filled = Rating.objects.filter(slot=OuterRef("slot"), superseded=False)
    return Trial.objects.filter(
        ~Exists(filled),
        booklet__evaluator__in=gone(study).values("pk"),
        kind=Trial.Kind.MAIN,
        released=False,
        skip=None,
    )


def reassign(evaluator: Evaluator) -> Booklet | None:
    """A booklet of trials left behind, no prompt twice; none where there are none. Raises ``RaceLost``."""
    study = evaluator.study
    configuration = configuration_of(study)
    trials: dict[int, Trial] = {}  # by prompt
    for trial in left_behind(study).select_related("pair__comparison").order_by("booklet", "position"):
        assert trial.pair is not None  # a main trial has one
        if len(trials) < configuration.trials_per_evaluator:
            trials.setdefault(trial.pair.prompt_id, trial)
    if not trials:
        return None
    chosen = list(trials.values())
    with transaction.atomic():
        released = Trial.objects.filter(pk__in=[trial.pk for trial in chosen], released=False).update(released=True)
        if released < len(chosen):
            raise RaceLost
        booklet = Booklet.objects.create(
            study=study, block=0, number=None, remainder=True, evaluator=evaluator, claimed_at=timezone.now()
        )
        rng = np.random.default_rng([configuration.seed, booklet.pk, 3])
        showings = [_showing(chosen[int(i)]) for i in rng.permutation(len(chosen))]
        stock = Stock(study, configuration)
        stock.write({booklet: stock.items(showings, rng)}, {trial.pk: trial.slot for trial in chosen})
    return booklet


def _showing(trial: Trial) -> Showing:
    pair = trial.pair
    assert pair is not None
    assert trial.candidate_on_left is not None
    cell = PairCell(pair.pk, pair.comparison.position, pair.stratum, pair.prompt_id)
    return Showing(cell, trial.candidate_on_left, trial.pk)
