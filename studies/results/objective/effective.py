"""Summarise how strong arms were in terms of classifier-free guidance, as measured while pictures were generated."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from django.db.models import JSONField
from django.db.models.fields.json import KeyTransform
from numpy.typing import NDArray

from evenhand.studies.arm_recipes import made_for
from evenhand.studies.chosen_prompts import prompts_of
from evenhand.studies.models import Image
from evenhand.studies.results.objective.scores import Scope

QUARTILES = (25, 50, 75)
PICTURES = 2000  # of one arm, at most; the first ones of the prompts


def effective_strengths_of(scope: Scope) -> list[dict[str, Any]]:
    """Return for each arm with measured pictures, by iteration: quartiles of ω, and the median share across d.

    ω is in diffusers' convention, 1 + w for classifier-free guidance. arm: its place in the scope. n: pictures that
    were measured. Iterations at which none was measured are left out.
    """
    if scope.study.recipe_id is None:
        return []
    prompts = prompts_of(scope.study, scope.prompts).values("pk")[:PICTURES]
    rows = Image.objects.filter(
        made_for(scope.study), prompt__in=prompts, arm__in=[arm.pk for arm in scope.arms]
    ).annotate(strength=KeyTransform("effective_strength", "provenance", output_field=JSONField()))
    measured: dict[int, list[list[list[float | None] | None]]] = defaultdict(list)
    for arm, strength in rows.filter(provenance__has_key="effective_strength").values_list("arm", "strength"):
        measured[arm].append(strength)
    return [
        {"arm": place, "n": len(measured[arm.pk]), "points": _points(measured[arm.pk])}
        for place, arm in enumerate(scope.arms)
        if measured[arm.pk]
    ]


def _points(pictures: list[list[list[float | None] | None]]) -> list[dict[str, Any]]:
    table: NDArray[np.float64] = np.array(
        [[row or (None, None) for row in picture] for picture in pictures], dtype=np.float64
    )  # (pictures, T, 2), null as not a number
    points = []
    for iteration in range(table.shape[1]):
        omega, across = (column[np.isfinite(column)] for column in table[:, iteration].T)
        if len(omega):
            low, middle, high = np.percentile(omega, QUARTILES).tolist()
            share = float(np.median(across)) if len(across) else None
            points.append({"iteration": iteration, "omega": middle, "low": low, "high": high, "across": share})
    return points
