"""Format numbers for the pages, and draw what several pages show: scrolling tables, figures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from evenhand.studies.access import Right, allows, role_in
from evenhand.studies.models import Study
from evenhand.studies.results.tables import numbers
from evenhand.studies.results.tables.table import Table

register = template.Library()
for write in (numbers.percent, numbers.points, numbers.size, numbers.p_value, numbers.seconds, numbers.unbroken):
    register.filter(write.__name__, write)


@register.filter
def moment(at: str | None) -> str:
    """Write a report's time, ISO 8601 in UTC, as people read it."""
    return f"{datetime.fromisoformat(at):%-d %b %Y, %H:%M} UTC" if at else "–"


@register.filter
def minutes(seconds: float | None) -> str:
    """Format a duration in seconds, minutes or hours, whichever fits its length."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@register.simple_block_tag
def table(content: SafeString, label: str, kind: str = "", tall: bool = False, sortable: bool = False) -> SafeString:
    """Draw a table, its head and body between the tags, that scrolls where the page is narrower.

    sortable: for a table that is whole on its page, and has three or more rows.
    """
    context = {"rows": content, "label": label, "kind": kind, "tall": tall, "sortable": sortable}
    return render_to_string("console/_table.html", context)


@register.simple_block_tag
def chapter(
    content: SafeString, name: str, title: str, state: str = "", fold: bool = False, long: bool = False
) -> SafeString:
    """Draw a chapter of a page; a folded one shows its title and its state alone until somebody opens it.

    long: of a long page, whose chapters are open, and are folded by a script where the page is narrow.
    """
    context = {"content": content, "name": name, "title": title, "state": state, "fold": fold, "long": long}
    return render_to_string("console/_chapter.html", context)


@register.inclusion_tag("console/_result_table.html", takes_context=True)
def result_table(
    context: Mapping[str, Any],
    found: Table,
    empty: str = "",
    address: str = "console:result_table",
    sortable: bool = True,
) -> dict[str, Any]:
    """Draw one of a report's tables, with its sentence and its downloads.

    empty: what to say without rows. address: the name of the address that serves the table as a file. sortable: false
    for a table of which the page shows a part.
    """
    return {
        "address": address,
        "table": found,
        "study": context["study"],
        "population": context["population"],
        "lines": found.lines,
        "stacked": len(found.columns) > 3,
        "empty": empty,
        "sortable": sortable,
    }


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
def may(study: Study, right: str) -> bool:
    """Whether the role that a study bears (``access.studies_of``) includes a right: read, change or own."""
    return allows(role_in(study), Right(right))


@register.filter
def words(text: str) -> list[str]:
    """Split a text at its spaces."""
    return text.split()
