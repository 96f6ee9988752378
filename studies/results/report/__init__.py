"""Compute a study's results from its ratings, as plain JSON for pages, figures and files.

``study_report`` returns them, from the cache where nothing has changed; ``counting_ratings`` is the rule of which
ratings count, as a query.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from evenhand.studies.models import Rating, Study, Trial
from evenhand.studies.results.report.cached import cached_report
from evenhand.studies.results.report.records import POPULATIONS, PopulationError
from evenhand.studies.results.report.wording import plural, short_names
from evenhand.studies.unusable_pairs import marks_in_force

__all__ = ["POPULATIONS", "PopulationError", "counting_ratings", "plural", "short_names", "study_report"]


def counting_ratings(study: Study, *, of_unusable_pairs: bool = False) -> QuerySet[Rating]:
    """Return the ratings that results count: of main trials, current, counted, not left out, not of the pilot.

    of_unusable_pairs: those of unusable pairs, too, which results leave out.
    """
    counting = Rating.objects.filter(
        evaluator__study=study,
        evaluator__withdrawn_at=None,
        evaluator__pilot=False,
        trial__kind=Trial.Kind.MAIN,
        superseded=False,
        counted=True,
    ).exclude(
        Q(pk__in=study.exclusions.filter(lifted_at=None, rating__isnull=False).values("rating"))
        | Q(evaluator__in=study.exclusions.filter(lifted_at=None, evaluator__isnull=False).values("evaluator"))
    )
    return counting if of_unusable_pairs else counting.exclude(trial__pair__in=marks_in_force(study).values("pair"))


def study_report(study: Study, *, population: str | None = None) -> dict[str, Any]:
    """Return the statistics of a study's ratings as plain JSON (NaN is null).

    A population is "real", "simulated" or "all". Left out, it is the simulated ratings only where no real one counts.
    """
    if population is not None and population not in POPULATIONS:
        raise PopulationError(f"population {population!r} is none of {', '.join(POPULATIONS)}")
    return cached_report(study, population)
