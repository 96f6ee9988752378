"""Write a sweep as one candidate: a list of values for one setting stands for a candidate with each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenhand.generation.guidance import GuidanceError, methods
from evenhand.generation.methods.settings import settings_of

MOST_VALUES = 12


def expanded(candidate: Any) -> list[Any]:
    """Return the candidates, as JSON, that one entry stands for: itself, or one for each value of a swept setting.

    Raises GuidanceError for two swept settings, and for fewer than two or more than 12 values.
    """
    kind = methods().get(str(candidate.get("method"))) if isinstance(candidate, Mapping) else None
    if kind is None:
        return [candidate]
    swept = [
        name
        for name, setting in settings_of(kind).items()
        if setting.kind in ("number", "whole") and isinstance(candidate.get(name), list)
    ]
    if not swept:
        return [candidate]
    if len(swept) > 1:
        raise GuidanceError(f"a sweep varies one setting, not {' and '.join(swept)}")
    values = candidate[swept[0]]
    if not 2 <= len(values) <= MOST_VALUES:
        raise GuidanceError(f"a sweep has 2 to {MOST_VALUES} values of {swept[0]}, not {len(values)}")
    return [{**candidate, swept[0]: value} for value in values]
