"""Draw what metrics say: a metric's differences against people's preference, and metrics over strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evenhand.errors import InputError
from evenhand.studies.results.figures.style import Theme, quiet, render, theme_of
from evenhand.studies.results.tables.numbers import plain, unbroken

PANEL = (3.6, 3.0)  # inches
STROKES, MARKERS = ("-", "--", ":", "-."), ("o", "s", "^", "D", "v")


def agreement(report: Mapping[str, Any], *, dark: bool = False, columns: int = 2, kind: str = "svg") -> bytes:
    """Draw one panel for each metric and comparison: a point a pair. Raises ``InputError`` where nothing is rated."""
    panels = [each for each in report["people"]["points"] if each["pairs"]]
    if not panels:
        raise InputError(f"no pair of “{report['study']}” has both scores and ratings")
    return render(lambda: _figure(panels, columns, theme_of(dark), _scatter(report)), _title(report), kind)


def strengths(report: Mapping[str, Any], *, dark: bool = False, columns: int = 2, kind: str = "svg") -> bytes:
    """Draw one panel for each metric over the strengths of a sweep. Raises ``InputError`` where there is none."""
    if not report["sweep"]:
        raise InputError(f"no sweep of strengths was scored for “{report['study']}”")
    title = "Metrics over the strength of classifier-free guidance"
    return render(lambda: _figure(report["sweep"], columns, theme_of(dark), _line), title, kind)


def effective(report: Mapping[str, Any], *, dark: bool = False, columns: int = 2, kind: str = "svg") -> bytes:
    """Draw ω and the share of new direction over the iterations. Raises ``InputError`` where none was measured."""
    if not report["effective"]:
        raise InputError(f"no effective strength was measured for “{report['study']}”")
    panels = [
        {"key": "omega", "title": "Effective strength ω", "arms": report["arms"], "curves": report["effective"]},
        {"key": "across", "title": "Share of new direction", "arms": report["arms"], "curves": report["effective"]},
    ]
    title = "Effective strength of the arms, by iteration"
    return render(lambda: _figure(panels, columns, theme_of(dark), _curves), title, kind)


def _curves(axis: Axes, panel: Mapping[str, Any], theme: Theme) -> None:
    """Draw a line for each arm; lines differ in marker and stroke, so that they need no colours of their own."""
    for place, curve in enumerate(panel["curves"]):
        arm = panel["arms"][curve["arm"]]
        points = [point for point in curve["points"] if point[panel["key"]] is not None]
        xs = [point["iteration"] for point in points]
        colour = theme.sides[0] if arm["role"] == "baseline" else theme.sides[1]
        stroke, marker = STROKES[place % len(STROKES)], MARKERS[place % len(MARKERS)]
        ys = [point[panel["key"]] for point in points]
        axis.plot(xs, ys, stroke, color=colour, marker=marker, markersize=4, linewidth=1.4, label=unbroken(arm["name"]))
        if panel["key"] == "omega":
            low, high = ([point[end] for point in points] for end in ("low", "high"))
            axis.fill_between(xs, low, high, color=colour, alpha=0.12, linewidth=0)
    axis.set_title(panel["title"], size=10, color=theme.ink, loc="left")
    axis.set_xlabel("iteration", size=9, color=theme.quiet)
    if panel["key"] == "omega":
        axis.legend(frameon=False, fontsize=8, labelcolor=theme.ink)
    else:
        axis.set_ylim(-0.03, 1.03)


def _title(report: Mapping[str, Any]) -> str:
    mark = report["people"]["mark"]
    return f"Differences of metrics and preference of people{f' ({mark} ratings)' if mark else ''}"


def _figure(panels: Sequence[Mapping[str, Any]], columns: int, theme: Theme, draw: Any) -> Figure:
    wide = min(columns, len(panels))
    rows = -(-len(panels) // wide)
    figure = Figure(figsize=(PANEL[0] * wide, PANEL[1] * rows), layout="constrained", facecolor=theme.ground)
    axes = figure.subplots(rows, wide, squeeze=False).ravel()
    for axis, panel in zip(axes, panels, strict=False):
        draw(axis, panel, theme)
        quiet(axis, theme)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return figure


def _scatter(report: Mapping[str, Any]) -> Any:
    rows = {
        (each["metric"], each["candidate"], each["baseline"]): each
        for each in report["people"]["rows"]
        if each["stratum"] == "all"
    }
    titles = {each["metric"]: each["title"] for each in report["metrics"]}

    def draw(axis: Axes, panel: Mapping[str, Any], theme: Theme) -> None:
        points = np.array(panel["pairs"])
        axis.axhline(0, color=theme.quiet, linewidth=0.8)
        axis.axvline(0, color=theme.quiet, linewidth=0.8)
        axis.scatter(
            points[:, 0], points[:, 1], s=12 + 6 * np.sqrt(points[:, 2]), color=theme.sides[1], alpha=0.55, linewidths=0
        )
        axis.set_ylim(-2.15, 2.15)
        axis.set_yticks(range(-2, 3), ["−2", "−1", "0", "+1", "+2"])
        found = rows[panel["metric"], panel["candidate"], panel["baseline"]]["tau_b"]
        candidate, baseline = (unbroken(report["arms"][panel[role]]["name"]) for role in ("candidate", "baseline"))
        tau = "" if found["estimate"] is None else f"\nτ-b = {plain(found['estimate'])}"
        axis.set_title(f"{candidate} vs {baseline}{tau}", size=10, color=theme.ink, loc="left", linespacing=1.35)
        axis.set_xlabel(f"{titles[panel['metric']]}, difference", size=9, color=theme.quiet)
        axis.set_ylabel("mean preference", size=9, color=theme.quiet)

    return draw


def _line(axis: Axes, panel: Mapping[str, Any], theme: Theme) -> None:
    xs = [point["strength"] for point in panel["points"]]
    ys = [point["value"] for point in panel["points"]]
    axis.plot(xs, ys, color=theme.sides[0], linewidth=1.6, marker="o", markersize=4)
    place = xs.index(panel["best"])
    axis.plot([xs[place]], [ys[place]], marker="D", markersize=8, color=theme.sides[1])
    better = "highest" if panel["higher_is_better"] else "lowest"
    axis.set_title(panel["title"], size=10, color=theme.ink, loc="left")
    axis.set_xlabel(f"w, {better} at {panel['best']:g}", size=9, color=theme.quiet)
