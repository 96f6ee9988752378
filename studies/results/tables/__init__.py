"""Lay a report out in tables, each defined once for the page, for LaTeX and for CSV."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from evenhand.studies.results.tables import conduct, outcomes, sweeps
from evenhand.studies.results.tables.table import Table

MAKERS: dict[str, Callable[[Mapping[str, Any]], Table | None]] = {
    make.__name__: make
    for make in (
        outcomes.comparisons,
        outcomes.strata,
        outcomes.equivalence,
        sweeps.sweeps,
        outcomes.scores,
        outcomes.sensitivity,
        outcomes.models,
        conduct.evaluators,
        conduct.agreement,
        conduct.checks,
        conduct.exclusions,
        conduct.changes,
        conduct.sides,
        conduct.times,
        conduct.variance,
    )
}


def tables_of(report: Mapping[str, Any], *, without: Collection[str] = ()) -> dict[str, Table]:
    """Return every table that the report fills, by name."""
    made = {name: make(report) for name, make in MAKERS.items() if name not in without}
    return {name: table for name, table in made.items() if table is not None}


def table_of(report: Mapping[str, Any], name: str) -> Table | None:
    """Return one table; None for an unknown name, and for one that the report does not fill."""
    return MAKERS[name](report) if name in MAKERS else None
