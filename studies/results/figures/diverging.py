"""Draw stacked diverging bars: one a comparison, baseline to the left of zero and candidate to the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from evenhand.analysis.preference import CATEGORIES
from evenhand.errors import InputError
from evenhand.studies.results.figures.style import LINE, PALETTE, Theme, quiet, render, theme_of

LEGEND = ("baseline much better", "slightly", "no preference", "slightly", "candidate much better")
FREE_LEGEND = ("left arm much better", "slightly", "no preference", "slightly", "right arm much better")
SMALLEST_LABEL = 6.0  # percent: narrower parts carry no number
INSIDE = ("#FFFFFF", "#222222", "#222222", "#222222", "#FFFFFF")  # text on the palette's colours


def diverging(report: Mapping[str, Any], *, dark: bool = False, kind: str = "svg") -> bytes:
    """Draw one bar a comparison, with the net preference and its interval as a point; for many comparisons at once.

    “No preference” lies half on either side of zero, so that a bar's balance is the net preference.
    """
    comparisons = [comparison for comparison in report["comparisons"] if comparison["n"]]
    if not comparisons:
        raise InputError(f"“{report['study']}” has no ratings yet")
    return render(lambda: _figure(report, comparisons, theme_of(dark)), report["finding"], kind)


def _figure(report: Mapping[str, Any], comparisons: Sequence[Mapping[str, Any]], theme: Theme) -> Figure:
    figure = Figure(
        figsize=(8.6, 1.7 + (0.8 if report["free_comparisons"] else 0.62) * len(comparisons)),
        layout="constrained",
        facecolor=theme.ground,
    )
    panel = figure.subplots()
    for row, comparison in enumerate(comparisons):
        _bar(panel, row, comparison, theme)
    panel.axvline(0, color=theme.ink, linewidth=0.8, zorder=1.5)
    several = len({comparison["criterion"] for comparison in comparisons}) > 1
    free = report["free_comparisons"]
    panel.set_yticks(range(len(comparisons)), [_label(comparison, several, free) for comparison in comparisons])
    panel.set_ylim(len(comparisons) - 0.4, -0.6)
    panel.set_xlim(-100, 100)
    panel.set_xticks(range(-100, 101, 25), [f"{abs(tick)}" for tick in range(-100, 101, 25)])
    ratings = f"{report['mark']} ratings" if report["mark"] else "ratings"
    panel.set_xlabel(
        f"share of {ratings} (%); point and line: net preference, 95 % interval", size=10, color=theme.quiet
    )
    legend = FREE_LEGEND if free else LEGEND
    handles = [
        Patch(facecolor=colour, edgecolor=LINE, label=text) for colour, text in zip(PALETTE, legend, strict=True)
    ]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=5, frameon=False, fontsize=9, labelcolor=theme.ink,
        handlelength=1.0, columnspacing=1.2,
    )  # fmt: skip
    quiet(panel, theme)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    return figure


def _label(comparison: Mapping[str, Any], several: bool, free: bool) -> str:
    """Name a comparison; where not all are with the baseline, in the order of the bar's sides."""
    name = f"{comparison['candidate_name']} vs {comparison['baseline_name']}"
    if free:
        name = f"left: {comparison['baseline_name']}\nright: {comparison['candidate_name']}"
    criterion = f"{comparison['criterion'].replace('_', ' ')}: " if several else ""
    return f"{criterion}{name}\nn = {comparison['n']}"


def _bar(panel: Axes, row: int, comparison: Mapping[str, Any], theme: Theme) -> None:
    shares = [100 * comparison["shares"][name] for name in CATEGORIES]
    left = -(shares[0] + shares[1] + shares[2] / 2)
    for share, colour, ink in zip(shares, PALETTE, INSIDE, strict=True):
        panel.barh(row, share, left=left, height=0.62, color=colour, edgecolor=LINE, linewidth=0.5)
        if share >= SMALLEST_LABEL:
            panel.text(left + share / 2, row - 0.14, f"{share:.0f}", ha="center", va="center", size=9, color=ink)
        left += share
    net = comparison["intervals"]["net"]
    if net["low"] is not None:
        for colour, width in ((theme.ground, 3.2), (theme.ink, 1.2)):
            panel.hlines(row + 0.17, 100 * net["low"], 100 * net["high"], color=colour, linewidth=width, zorder=3)
    panel.plot(
        [100 * net["estimate"]], [row + 0.17], marker="D", markersize=5, color=theme.ink,
        markeredgecolor=theme.ground, zorder=4,
    )  # fmt: skip
