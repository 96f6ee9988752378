"""How numbers are written on the pages."""

from __future__ import annotations

import math

from django import template

register = template.Library()


@register.filter
def percent(share: float | None) -> str:
    """A share as a whole percentage; a dash where there is nothing to tell."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.0f} %"


@register.filter
def minutes(seconds: float | None) -> str:
    """A duration in the unit that a person would use."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
