"""Format numbers for the pages, and draw what several pages show: scrolling tables, figures."""

from __future__ import annotations

import math

from django import template
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

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


@register.simple_block_tag
def table(content: SafeString, label: str, kind: str = "", tall: bool = False) -> SafeString:
    """Draw a table, its head and body between the tags, that scrolls where the page is narrower."""
    context = {"rows": content, "label": label, "kind": kind, "tall": tall}
    return render_to_string("console/_table.html", context)


@register.simple_block_tag
def figure(content: SafeString, source: str, query: str = "", stacked: bool = False) -> SafeString:
    """Draw the figure at an address; what stands between the tags says in words what it shows.

    query: the address's query, ``?…``. With one, the figure has a dark version; ``stacked``: and one for narrow pages,
    with its panels below each other.
    """
    text = mark_safe(" ".join(content.split()))  # noqa: S308 (the template has escaped it)
    context = {"source": f"{source}{query}", "text": text, "variants": bool(query), "stacked": stacked}
    return render_to_string("console/_figure.html", context)


@register.filter
def words(text: str) -> list[str]:
    """Split a text at its spaces."""
    return text.split()


@register.filter
def points(share: float | None) -> str:
    """Write a difference of shares in percentage points, with its sign: ``+12``, ``−3``, ``0``."""
    if share is None:
        return "–"
    value = round(100 * share)
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{abs(value)}"


@register.filter
def p_value(p: float | None) -> str:
    """Write a p-value with two significant digits, and never as 0: ``p = 0.031``, ``p < 0.0001``."""
    if p is None:
        return ""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"
