"""Draw the Fréchet distance of subsets over their size (the paper's Fig. 10)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from numpy.typing import NDArray

from evenhand.sampling.subset import FrechetCurve
from evenhand.studies.results.figures.style import INK, PALETTE, QUIET, quiet, render

Floats = NDArray[np.float64]


def frechet_curve(
    data: Mapping[str, Any], chosen_size: int, *, draw: str = "random", threshold: float | None = None
) -> str:
    """Draw subsets' distance to the whole set over their size, log–log, as SVG; ``data``: ``FrechetCurve.to_dict()``.

    The chosen size is marked on the curve of its ``draw``; a threshold is drawn as a horizontal line.
    """
    curve = FrechetCurve.from_dict(data)
    title = _curve_title(curve.family(draw), chosen_size, draw)
    return render(lambda: _curve_figure(curve, chosen_size, title, draw, threshold), title, "svg").decode()


def frechet_curve_png(
    data: Mapping[str, Any], chosen_size: int, *, draw: str = "random", threshold: float | None = None
) -> bytes:
    """Draw the same figure as PNG, 1440 pixels wide."""
    curve = FrechetCurve.from_dict(data)
    title = _curve_title(curve.family(draw), chosen_size, draw)
    return render(lambda: _curve_figure(curve, chosen_size, title, draw, threshold), title, "png")


def _curve_figure(curve: FrechetCurve, chosen_size: int, title: str, draw: str, threshold: float | None) -> Figure:
    distances = np.asarray(curve.distances, float)
    positive = np.all(distances > 0, axis=1)  # the whole set itself has distance 0, which has no logarithm
    if not positive.any():
        return _statement(title)
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    panel = figure.subplots()
    panel.set_xscale("log")
    panel.set_yscale("log")
    _curves(panel, curve, positive)
    if threshold is not None:
        panel.axhline(threshold, color=INK, linewidth=1.0, linestyle=(0, (1, 2)), label=f"threshold {threshold:g}")
    _mark_chosen_size(panel, curve.family(draw), positive, chosen_size)
    ticks = _spaced(curve.sizes, chosen_size)
    panel.set_xticks(ticks, [_thousands(size) for size in ticks])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_xlabel("subset size n (prompts)", size=10, color=QUIET)
    panel.set_ylabel("squared Fréchet distance (feature units²)", size=10, color=QUIET)
    panel.set_title(title, size=12, color=INK, loc="left", pad=12, linespacing=1.35)
    # below the panel, where it hides no curve and not the chosen size's label
    figure.legend(frameon=False, fontsize=10, labelcolor=INK, loc="outside lower left", ncols=2)
    quiet(panel)
    return figure


def _statement(text: str) -> Figure:
    """Make a figure that says why there is nothing to draw."""
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    figure.text(0.5, 0.5, text, ha="center", va="center", size=12, color=INK, wrap=True)
    return figure


def _curves(panel: Axes, curve: FrechetCurve, rows: NDArray[np.bool_]) -> None:
    """Draw random draws with their range, representative draws, and what a normal set would show."""
    sizes = np.asarray(curve.sizes, float)[rows]
    _family(panel, sizes, np.asarray(curve.distances)[rows], "", PALETTE[4], PALETTE[3], "o")
    if curve.representative:
        table = np.asarray(curve.representative)[rows]
        _family(panel, sizes, table, " representative", PALETTE[0], PALETTE[1], "s")
    if curve.gaussian:
        table = np.asarray(curve.gaussian)[rows].mean(axis=1)
        mask = table > 0
        label = "a normal set of the same mean and covariance"
        panel.plot(sizes[mask], table[mask], color=QUIET, linewidth=1.2, linestyle="-.", label=label)
    mean_term = np.asarray(curve.mean_term)[rows]
    mask = mean_term > 0
    label = "its mean term as expected, (1/n − 1/N) tr Σ"
    panel.plot(sizes[mask], mean_term[mask], color=QUIET, linestyle=(0, (5, 3)), linewidth=1.2, label=label)


def _family(panel: Axes, sizes: Floats, table: Floats, kind: str, line: str, band: str, marker: str) -> None:
    draws = table.shape[1]
    mask = np.all(table > 0, axis=1)
    sizes, table = sizes[mask], table[mask]
    if draws > 1:
        low, high = table.min(axis=1), table.max(axis=1)
        label = f"range of {draws}{kind} draws"
        panel.fill_between(sizes, low, high, color=band, alpha=0.5, linewidth=0, label=label)
    label = f"mean of {draws}{kind} draws" if draws > 1 else f"one{kind} draw"
    panel.plot(sizes, table.mean(axis=1), color=line, marker=marker, markersize=4, linewidth=1.5, label=label)


def _mark_chosen_size(panel: Axes, curve: FrechetCurve, positive: NDArray[np.bool_], chosen_size: int) -> None:
    """Draw a line up to the curve at the chosen size; the whole set, which lies at 0, is only named."""
    rows = positive & (curve.mean > 0)
    if not rows.any():
        return
    if chosen_size >= curve.count:
        text = f"chosen: {_thousands(chosen_size)}, the whole set"
        panel.annotate(text, (1, 0.03), xycoords="axes fraction", ha="right", color=INK, size=10)
        return
    sizes = np.log(np.asarray(curve.sizes, float)[rows])
    height = math.exp(np.interp(math.log(chosen_size), sizes, np.log(curve.mean[rows])))
    bottom = panel.get_ylim()[0]
    panel.vlines(chosen_size, bottom, height, color=INK, linewidth=1.2, zorder=1)
    panel.plot([chosen_size], [height], marker="o", markersize=8, color=INK, zorder=3)
    panel.set_ylim(bottom=bottom)
    in_right_half = math.log(chosen_size) > (sizes[0] + sizes[-1]) / 2
    panel.annotate(
        f"chosen: {_thousands(chosen_size)}", (chosen_size, 0.03), xycoords=("data", "axes fraction"),
        xytext=(-6 if in_right_half else 6, 0), textcoords="offset points", ha="right" if in_right_half else "left",
        color=INK, size=10,
    )  # fmt: skip


def _spaced(sizes: Sequence[int], chosen_size: int) -> list[int]:
    """Return the sizes whose labels do not overlap on the axis; the chosen one is always among them."""
    span = math.log(max(*sizes, chosen_size) / min(*sizes, chosen_size)) or 1.0
    ticks: list[int] = []
    for size in (chosen_size, *sizes):
        if all(abs(math.log(size / other)) > 0.055 * span for other in ticks):
            ticks.append(size)
    return sorted(ticks)


def _curve_title(curve: FrechetCurve, chosen_size: int, draw: str) -> str:
    """State the distances at the chosen size (at the largest, if that was not drawn) and at the smallest."""
    size = chosen_size if chosen_size in curve.sizes else curve.sizes[-1]
    distance = curve.mean[curve.sizes.index(size)]
    if size >= curve.count:
        return f"The subset of {_thousands(size)} prompts is the whole set:\nits distance is 0"
    subsets = f"{draw.capitalize()} subsets of {_thousands(size)} prompts"
    sentence = f"{subsets} lie {distance:.3g} from all {_thousands(curve.count)}"
    smallest = curve.sizes[0]
    return sentence if smallest == size else f"{sentence},\nthose of {_thousands(smallest)} lie {curve.mean[0]:.3g}"


def _thousands(number: int) -> str:
    return f"{number:,}"
