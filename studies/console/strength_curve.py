"""Lay out the effective strength of two pictures over the iterations as lines of an inline figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT = 360, 140  # of the plotted area, in units of the figure
Points = Sequence[Sequence[float | None] | None]


def strength_curve(pictures: Sequence[Points | None]) -> dict[str, Any] | None:
    """Return the lines of the pictures whose strength was measured; None where none was.

    pictures: of each one, by iteration, the effective strength ω and the share across, or None where nothing was
    measured. A line is broken where an iteration has no value.
    """
    values = [[row[0] if row else None for row in points] if points else [] for points in pictures]
    known = [value for row in values for value in row if value is not None]
    if not known:
        return None
    iterations = max(map(len, values))
    low, high = min(known), max(known)
    span = high - low or 1.0

    def place(i: int, value: float) -> str:
        x = WIDTH * i / max(1, iterations - 1)
        return f"{x:.1f},{HEIGHT * (1 - (value - low) / span):.1f}"

    return {
        "lines": [_runs(row, place) for row in values],
        "low": low,
        "high": high,
        "last": iterations - 1,
        "width": WIDTH,
        "height": HEIGHT,
        "means": [_mean(row) for row in values],
    }


def _runs(row: Sequence[float | None], place: Any) -> list[str]:
    """Return the points of each unbroken run of values, as a polyline takes them."""
    runs: list[list[str]] = [[]]
    for i, value in enumerate(row):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(place(i, value))
    return [" ".join(run if len(run) > 1 else run * 2) for run in runs if run]


def _mean(row: Sequence[float | None]) -> float | None:
    known = [value for value in row if value is not None]
    return sum(known) / len(known) if known else None
