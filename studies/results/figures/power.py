"""Draw which differences a planned study finds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from evenhand.analysis.planning import POWER, Plan, detectable_curve, paper_plan, power_curve
from evenhand.analysis.power import detectable_difference
from evenhand.studies.results.figures.style import LINE, Theme, quiet, render, theme_of
from evenhand.studies.results.report import plural

DIFFERENCES = np.linspace(0.0, 0.6, 31)
SIZES = 17  # points of the curve over ratings
LARGEST = 20_000  # evaluators that are drawn


def power_curves(plan: Plan, *, power: float = POWER, dark: bool = False, columns: int = 2, kind: str = "svg") -> bytes:
    """Draw the power over the difference, and the detectable difference over the number of ratings, as SVG, PNG or PDF.

    The paper's own design is marked, under the assumptions of the plan. ``InputError`` for another kind.
    """
    theme = theme_of(dark)
    title = _finding(plan, power)
    return render(lambda: _figure(plan, power, title, theme, columns), title, kind)


def _finding(plan: Plan, power: float) -> str:
    found = detectable_difference(plan.assumed, plan.design, power=power).value
    people = f"{plural(plan.evaluators, 'evaluator')} × {plural(plan.design.trials, 'pair')} of a comparison"
    if math.isnan(found):
        return f"{people}\nfind no difference with {100 * power:.0f} % power"
    return f"{people}\nfind differences of {100 * found:.0f} points with {100 * power:.0f} % power"


def _figure(plan: Plan, power: float, title: str, theme: Theme, columns: int) -> Figure:
    rows, across = (1, 2) if columns > 1 else (2, 1)
    figure = Figure(figsize=(5.4 * across + 0.6, 4.4 * rows), layout="constrained", facecolor=theme.ground)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, wspace=0.04)  # type: ignore[union-attr, call-arg]
    over_difference, over_ratings = figure.subplots(rows, across).ravel()
    _over_difference(over_difference, plan, power, theme)
    _over_ratings(over_ratings, plan, power, theme)
    over_difference.set_title(title, size=12, color=theme.ink, loc="left", pad=12, linespacing=1.35)
    over_ratings.set_title("More evaluators find smaller differences", size=12, color=theme.ink, loc="left", pad=12)
    for panel in (over_difference, over_ratings):
        panel.legend(frameon=False, fontsize=9, labelcolor=theme.ink, loc="best")
        quiet(panel, theme)
    return figure


def _over_difference(panel: Axes, plan: Plan, power: float, theme: Theme) -> None:
    """Draw this design, half and twice as many evaluators, and the paper's design."""
    lines = [
        (replace(plan, evaluators=2 * plan.evaluators), theme.sides[1], (0, (4, 2)), 1.2),
        (plan, theme.sides[1], "-", 2.2),
    ]
    if plan.evaluators >= 4:
        lines.append((replace(plan, evaluators=plan.evaluators // 2), theme.sides[1], (0, (1, 2)), 1.2))
    for each, colour, style, width in lines:
        label = f"{plural(each.evaluators, 'evaluator')}, {plural(each.design.ratings, 'rating')}"
        _curve(panel, each, label, colour, style, width)
    if not plan.is_paper:
        _curve(panel, paper_plan(plan.assumed), "the paper’s design, 255 ratings", theme.sides[0], "-", 1.4)
    panel.axhline(100 * power, color=LINE, linewidth=0.8)
    found = detectable_difference(plan.assumed, plan.design, power=power).value
    if found <= DIFFERENCES[-1]:
        panel.plot([100 * found], [100 * power], "o", color=theme.sides[1], markersize=7)
    panel.set_xlim(0, 100 * DIFFERENCES[-1])
    panel.set_ylim(0, 102)
    panel.set_xlabel("true difference, points of net preference", size=10, color=theme.quiet)
    panel.set_ylabel("power: chance to find it (%)", size=10, color=theme.quiet)


def _curve(panel: Axes, plan: Plan, label: str, colour: str, style: object, width: float) -> None:
    found = power_curve(plan, DIFFERENCES)
    panel.plot(100 * DIFFERENCES, 100 * found, color=colour, linestyle=style, linewidth=width, label=label)


def _over_ratings(panel: Axes, plan: Plan, power: float, theme: Theme) -> None:
    """Draw the detectable difference of other numbers of evaluators with the same pairs each."""
    low, high = max(2, plan.evaluators // 8), min(max(8 * plan.evaluators, 40), LARGEST)
    sizes = np.unique(np.append(np.geomspace(low, high, SIZES).round(), plan.evaluators)).astype(int)
    ratings, found = detectable_curve(plan, sizes, power=power)
    label = f"{plural(plan.design.trials, 'pair')} each of {plan.prompts:,} prompts"
    panel.plot(ratings, 100 * found, color=theme.sides[1], linewidth=2.2, label=label)
    own = float(found[sizes == plan.evaluators][0])
    name = "the paper’s design" if plan.is_paper else "this design"
    if not math.isnan(own):
        text = f"{name}: {plural(plan.design.ratings, 'rating')}, {100 * own:.0f} points"
        _mark(panel, plan.design.ratings, own, text, theme, 1)
    if not plan.is_paper:
        paper = paper_plan(plan.assumed)
        value = detectable_difference(paper.assumed, paper.design, power=power).value
        if not math.isnan(value):
            text = f"the paper’s design: 255 ratings, {100 * value:.0f} points"
            _mark(panel, paper.design.ratings, value, text, theme, 0)
    panel.set_xscale("log")
    panel.set_ylim(bottom=0)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("ratings of one comparison", size=10, color=theme.quiet)
    panel.set_ylabel(f"difference found with {100 * power:.0f} % power (points)", size=10, color=theme.quiet)


def _mark(panel: Axes, ratings: int, difference: float, label: str, theme: Theme, side: int) -> None:
    marker = "o" if side else "s"
    panel.plot([ratings], [100 * difference], marker, color=theme.sides[side], markersize=8, label=label)
