"""Return ratings as records for JSON: the columns of the CSV under the same names, a page at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

from evenhand.studies.models import Study
from evenhand.studies.results.export.cells import FORMULA
from evenhand.studies.results.export.columns import COLUMNS
from evenhand.studies.results.export.ratings import numbered_lines

TYPES: dict[str, type] = {"integer": int, "number": float, "boolean": bool}  # all others are text


def type_of(kind: str) -> type:
    """Return the type of a column by the first word of its kind."""
    return TYPES.get(kind.partition(",")[0], str)


def rating_page(study: Study, *, after: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """Return up to ``limit`` ratings in the order in which they arrived, and where the next page begins.

    after: where a page before it said that this one begins; 0 for the first. No next page: None.
    """
    lines = list(numbered_lines(study, after=after, limit=limit + 1))
    shown = lines[:limit]
    rows = csv.reader([line for _, line in shown])
    records = [
        {column.name: _READ[type_of(column.kind)](cell) for column, cell in zip(COLUMNS, cells, strict=True)}
        for cells in rows
    ]
    return records, shown[-1][0] if len(lines) > limit else None


def _text(cell: str) -> str | None:
    # the apostrophe that keeps a spreadsheet from computing it is no part of the text
    return (cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell) or None


def _whole(cell: str) -> float:
    try:
        return int(cell)
    except ValueError:
        return float(cell)  # a browser's pixels, in records from elsewhere


_READ: dict[type, Callable[[str], Any]] = {
    int: lambda cell: _whole(cell) if cell else None,
    float: lambda cell: float(cell) if cell else None,
    bool: lambda cell: cell == "TRUE" if cell else None,
    str: _text,
}
