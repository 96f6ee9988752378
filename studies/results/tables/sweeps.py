"""The table of sweeps: at which value of a setting a method is preferred most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenhand.studies.results.tables.numbers import percent, points
from evenhand.studies.results.tables.outcomes import in_words, several_criteria
from evenhand.studies.results.tables.table import (
    Cell,
    Column,
    Table,
    count,
    estimate,
    estimate_column,
    number,
    table,
    text,
)


def sweeps(report: Mapping[str, Any]) -> Table | None:
    """Every arm of every sweep; None where no arms are one."""
    if not report["sweeps"]:
        return None
    several = several_criteria(report)
    return table(
        "sweeps",
        "Preference over a setting",
        "Arms of one method that differ in one setting, each compared with the same arm. The highest of several "
        "estimates tends to be too high, and values whose intervals overlap are not told apart by it.",
        [
            Column("Sweep", ("method", "setting"), number=False),
            Column("Value", ("value",)),
            Column("Against", ("against",), number=False),
            *([Column("Criterion", ("criterion",), number=False)] if several else []),
            Column("n", ("n",)),
            Column("Preferred", ("preferred",)),
            Column("The other", ("other_preferred",)),
            estimate_column("Net, points (95 % interval)", "net_share"),
            Column("Highest", ("highest",), number=False),
        ],
        (
            [
                Cell(f"{sweep['short']}, {sweep['symbol']}", (sweep["method"], sweep["setting"])),
                number(point["value"], lambda value: f"{value:g}"),
                text(sweep["against"]),
                *([text(in_words(sweep["criterion"]))] if several else []),
                count(point["n"]),
                number(point["preferred"], percent),
                number(point["other_preferred"], percent),
                estimate(point["net"], points),
                text("highest" if point["value"] == sweep["best"] else ""),
            ]
            for sweep in report["sweeps"]
            for point in sweep["points"]
        ),
    )
