"""Draw Davidson's scores of three or more arms: a point and an interval each, one panel a criterion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from evenhand.errors import InputError
from evenhand.studies.results.figures.style import Theme, quiet, render, theme_of
from evenhand.studies.results.tables.numbers import signed


def scores(report: Mapping[str, Any], *, dark: bool = False, kind: str = "svg") -> bytes:
    """Draw the scores of every criterion that has some; ``InputError`` where none has."""
    criteria = [each for each in report["criteria"] if each["davidson"] and each["davidson"]["scores"]]
    if not criteria:
        raise InputError(f"“{report['study']}” has no scores: they need three arms whose comparisons tell them apart")
    title = "; ".join(finding(each, len(criteria)) for each in criteria)
    return render(lambda: _figure(report, criteria, theme_of(dark)), title, kind)


def finding(criterion: Mapping[str, Any], criteria: int = 1) -> str:
    """State which arm has the highest score of a criterion, in one sentence."""
    scores = criterion["davidson"]["scores"]
    best = max(scores, key=lambda score: score["estimate"])
    name = f"{criterion['name'].replace('_', ' ').capitalize()}: " if criteria > 1 else ""
    if max(score["group"] for score in scores) > 1:
        return f"{name}no comparison connects the groups of arms: each has a scale of its own"
    text = f"{name}{best['name']} has the highest score, {signed(best['estimate'])}"
    if best["low"] is None:
        return text
    return f"{text}, 95 % interval {signed(best['low'])} to {signed(best['high'])}"


def _label(score: Mapping[str, Any], apart: bool) -> str:
    """Name an arm, with its group where nothing connects all arms."""
    group = f"\ngroup {score['group']}" if apart else ""
    return f"{score['name']}{' (baseline)' if score['baseline'] else ''}{group}"


def _figure(report: Mapping[str, Any], criteria: Sequence[Mapping[str, Any]], theme: Theme) -> Figure:
    arms = max(len(each["davidson"]["scores"]) for each in criteria)
    height = len(criteria) * (1.5 + 0.42 * arms)
    figure = Figure(figsize=(7.2, height), layout="constrained", facecolor=theme.ground)
    panels = figure.subplots(len(criteria), 1, squeeze=False).ravel()
    for panel, criterion in zip(panels, criteria, strict=True):
        _panel(panel, criterion, len(criteria), report["mark"], theme)
    return figure


def _panel(panel: Axes, criterion: Mapping[str, Any], criteria: int, mark: str, theme: Theme) -> None:
    rows = sorted(criterion["davidson"]["scores"], key=lambda score: (score["group"], score["estimate"]))
    panel.axvline(0, color=theme.quiet, linewidth=0.8, linestyle=(0, (4, 3)))
    for place, score in enumerate(rows):
        colour = theme.sides[0] if score["baseline"] else theme.sides[1]
        if score["low"] is not None:
            panel.hlines(place, score["low"], score["high"], color=colour, linewidth=2.0)
        marker = "s" if score["baseline"] else "o"  # shapes, so that grey print tells them apart
        panel.plot([score["estimate"]], [place], marker=marker, markersize=8, color=colour)
        panel.annotate(
            signed(score["estimate"]), (score["estimate"], place), xytext=(0, 7), textcoords="offset points",
            ha="center", va="bottom", size=9, color=theme.ink,
        )  # fmt: skip
    labels = [_label(score, apart=rows[-1]["group"] > 1) for score in rows]
    panel.set_yticks(range(len(rows)), labels)
    panel.set_ylim(-0.6, len(rows) - 0.35)
    panel.margins(x=0.12)
    panel.xaxis.set_major_locator(MaxNLocator(6))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: signed(value, 1)))
    ratings = f"{criterion['davidson']['n']:,} {mark} ratings".replace("  ", " ")
    panel.set_xlabel(
        f"log strength, less the mean of all arms; lines: 95 % interval\nn = {ratings}", size=10, color=theme.quiet
    )
    title = finding(criterion, criteria).replace(", 95 %", ",\n95 %")
    panel.set_title(title, size=12, color=theme.ink, loc="left", pad=12, linespacing=1.35)
    quiet(panel, theme)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
