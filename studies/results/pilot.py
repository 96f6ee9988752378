"""Read from a study's ratings what another study may take ratings to be like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.db.models import Exists, OuterRef, QuerySet

from evenhand.analysis.clustered import clusters
from evenhand.analysis.preference import preference_shares
from evenhand.analysis.variance import variance_components
from evenhand.errors import InputError
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Rating, Study
from evenhand.studies.results.report import counting_ratings

FEWEST, MOST = 20, 20_000  # ratings; beyond, those of the first evaluators are read, so that a page stays quick


class PilotError(InputError):
    """A study's ratings tell too little; the message says what is missing."""


@dataclass(frozen=True)
class Pilot:
    """Shares of the five preferences, −2 first, and the correlations of their signs; NaN where nothing tells them."""

    shares: tuple[float, ...]
    evaluator_correlation: float
    prompt_correlation: float
    ratings: int
    evaluators: int
    simulated: bool
    reasons: tuple[str, ...]


def studies_with_ratings(studies: QuerySet[Study]) -> QuerySet[Study]:
    """Leave out studies that nobody has rated."""
    return studies.filter(Exists(Rating.objects.filter(evaluator__study=OuterRef("pk"))))


def pilot_of(study: Study) -> Pilot:
    """Read the ratings of the primary comparison by the primary criterion; simulated ones only where no real one is.

    Raises ``PilotError`` for fewer than 20 ratings, and where they are all equal.
    """
    configuration = configuration_of(study)
    names = [criterion.name for criterion in configuration.criteria]
    criterion = names.index(configuration.primary_criterion) if configuration.primary_criterion in names else 0
    ratings = counting_ratings(study).filter(
        trial__pair__comparison__position=configuration.primary_comparison - 1, trial__criterion=criterion
    )
    real = ratings.filter(evaluator__simulated=False)
    simulated = not real.exists()
    rows = (
        (ratings if simulated else real)
        .order_by("evaluator", "pk")
        .values_list("evaluator", "trial__pair__prompt", "choice", "trial__candidate_on_left")
    )
    table = np.array([(*row[:3], bool(row[3])) for row in rows[:MOST]], dtype=np.int64).reshape(-1, 4)
    if len(table) < FEWEST:
        raise PilotError(f"“{study.name}” has {len(table)} ratings of its primary outcome; {FEWEST} are needed.")
    preference = np.where(table[:, 3] == 1, -table[:, 2], table[:, 2])
    groups = clusters(table[:, 0], table[:, 1])
    components = variance_components(np.sign(preference), groups)
    if not components.total > 0:
        raise PilotError(f"All ratings of “{study.name}” are for one side alike, so they do not tell how others vary.")
    return Pilot(
        shares=tuple(preference_shares(preference).shares.tolist()),
        evaluator_correlation=components.evaluator_correlation,
        prompt_correlation=components.prompt_correlation,
        ratings=groups.n,
        evaluators=groups.evaluators,
        simulated=simulated,
        reasons=components.reasons,
    )
