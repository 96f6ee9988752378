"""Draw sweeps: the net preference over the setting that a method's arms differ in, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from evenhand.errors import InputError
from evenhand.studies.results.figures.style import Theme, quiet, render, theme_of
from evenhand.studies.results.tables.numbers import points, signed, unbroken

COLUMNS = 2


def sweeps(report: Mapping[str, Any], *, dark: bool = False, kind: str = "svg") -> bytes:
    """Draw one panel a sweep; ``InputError`` where there is none with ratings."""
    found = [each for each in report["sweeps"] if each["best"] is not None]
    if not found:
        raise InputError(
            f"“{report['study']}” has no sweep with ratings: three arms of one method, compared with one arm"
        )
    several = len(report["criteria"]) > 1
    title = "; ".join(finding(each, several) for each in found)
    return render(lambda: _figure(report, found, several, theme_of(dark)), title, kind)


def finding(sweep: Mapping[str, Any], several: bool = False) -> str:
    """State where a sweep's preference is highest, in one sentence; with the criterion where there are several."""
    best = next(point for point in sweep["points"] if point["value"] == sweep["best"])
    criterion = f"{sweep['criterion'].replace('_', ' ').capitalize()}: " if several else ""
    end = ", an end of the sweep" if sweep["at_end"] else ""
    return (
        f"{criterion}{sweep['short']} is preferred most at {sweep['symbol']} = {sweep['best']:g}{end}: "
        f"{points(best['net']['estimate'])} points against {sweep['against']}"
    )


def _figure(report: Mapping[str, Any], found: Sequence[Mapping[str, Any]], several: bool, theme: Theme) -> Figure:
    across = min(COLUMNS, len(found))
    rows = -(-len(found) // across)
    width = 7.2 if across == 1 else 6.0 * across
    figure = Figure(figsize=(width, 4.4 * rows), layout="constrained", facecolor=theme.ground)
    panels = figure.subplots(rows, across, squeeze=False).ravel()
    for panel, sweep in zip(panels, found, strict=False):
        _panel(panel, sweep, several, report["mark"], theme)
    for panel in panels[len(found) :]:
        panel.set_axis_off()
    return figure


def _panel(panel: Axes, sweep: Mapping[str, Any], several: bool, mark: str, theme: Theme) -> None:
    rated = [point for point in sweep["points"] if point["n"]]
    values = [point["value"] for point in rated]
    nets = [100 * point["net"]["estimate"] for point in rated]
    panel.axhline(0, color=theme.quiet, linewidth=0.8, linestyle=(0, (4, 3)))
    panel.plot(values, nets, color=theme.sides[1], linewidth=1.6, marker="o", markersize=5)
    for point in rated:
        net = point["net"]
        if net["low"] is not None:
            panel.vlines(point["value"], 100 * net["low"], 100 * net["high"], color=theme.sides[1], linewidth=1.2)
    place = values.index(sweep["best"])
    panel.plot([values[place]], [nets[place]], marker="D", markersize=9, color=theme.sides[0])
    panel.set_xticks(values, [f"{value:g}" for value in values])
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: signed(value, 0)))
    panel.set_xlabel(f"{sweep['short']}, {sweep['symbol']}; lines: 95 % interval", size=10, color=theme.quiet)
    ratings = f"{mark} ratings" if mark else "ratings"
    panel.set_ylabel(
        f"net preference (points of {ratings})\nagainst {unbroken(sweep['against'])}", size=10, color=theme.quiet
    )
    head, colon, tail = finding(sweep, several).rpartition(": ")
    panel.set_title(f"{head}{colon.rstrip()}\n{tail}", size=12, color=theme.ink, loc="left", pad=12, linespacing=1.35)
    quiet(panel, theme)
