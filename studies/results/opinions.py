"""Say of each pair how people judged it: how many ratings, their mean, and how far they disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Case, Count, F, IntegerField, Sum, When

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Study
from evenhand.studies.results.report import counting_ratings


@dataclass(frozen=True)
class Opinion:
    """The ratings of one pair: their number, their mean (−2 … 2 towards the candidate), the sum of their squares."""

    n: int = 0
    mean: float = 0.0
    squares: int = 0
    simulated: bool = False

    @property
    def effect(self) -> float:
        """The size of the mean, 0 … 2, whichever side is preferred."""
        return abs(self.mean)

    @property
    def disagreement(self) -> float:
        """The standard deviation of the ratings; 0 for fewer than two."""
        if self.n < 2:
            return 0.0
        return math.sqrt(max(0.0, (self.squares - self.n * self.mean**2) / (self.n - 1)))


def primary_criterion(configuration: StudyConfiguration) -> int:
    """Return the number of the criterion of the primary outcome, from 0."""
    names = [criterion.name for criterion in configuration.criteria]
    return names.index(configuration.primary_criterion) if configuration.primary_criterion in names else 0


def opinions_of(
    study: Study, configuration: StudyConfiguration, pairs: Sequence[int] | None = None
) -> dict[int, Opinion]:
    """Return the opinions of rated pairs by the primary criterion, unusable pairs too; one query.

    Ratings of people; of simulations only where a pair has no person's. pairs: only these.
    """
    towards = Case(
        When(trial__candidate_on_left=True, then=-F("choice")), default=F("choice"), output_field=IntegerField()
    )
    ratings = counting_ratings(study, of_unusable_pairs=True).filter(trial__criterion=primary_criterion(configuration))
    if pairs is not None:
        ratings = ratings.filter(trial__pair__in=pairs)
    rows = (
        ratings.order_by("evaluator__simulated")
        .values_list("trial__pair", "evaluator__simulated")
        .annotate(
            n=Count("pk"), total=Sum(towards), squares=Sum(F("choice") * F("choice"), output_field=IntegerField())
        )
    )
    found: dict[int, Opinion] = {}
    for pair, simulated, n, total, squares in rows:
        if pair is not None and n:
            found.setdefault(pair, Opinion(n, total / n, squares, simulated))
    return found
