"""Format numbers for the pages."""

from __future__ import annotations

import math

from django import template

register = template.Library()


@register.filter
def percent(share: float | None) -> str:
    """Format a share as a whole percentage; a dash where there is none."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.0f} %"


@register.filter
def minutes(seconds: float | None) -> str:
    """Format a duration in seconds, minutes or hours, whichever fits its length."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
