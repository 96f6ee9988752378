"""Draw the paper's Fig. 11 (preference histogram) as SVG, and Fig. 10 (Fréchet curve) as SVG or PNG.

Figures are drawn object by object, without pyplot's global state; matplotlib itself is not thread-safe, so one figure
is drawn at a time. Text stays text, and the same numbers give the same bytes.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator
from numpy.typing import NDArray

from evenhand.analysis.preference import CATEGORIES
from evenhand.errors import InputError
from evenhand.sampling.subset import FrechetCurve
from evenhand.studies.results.report import plural

# The SVG backend reads these only from rcParams. They are set once for the process and never changed.
mpl.rcParams["svg.fonttype"] = "none"
mpl.rcParams["svg.hashsalt"] = "evenhand"

Floats = NDArray[np.float64]

PALETTE = ("#B35806", "#F1A340", "#D8D8D8", "#998EC3", "#542788")  # baseline strong … candidate strong
INK, QUIET = "#222222", "#5A5A5A"
COLUMNS = 2  # comparisons side by side
_drawing = threading.Lock()  # one figure at a time


def histogram(report: Mapping[str, Any]) -> str:
    """Draw five bars a comparison, with percentages and interval whiskers; the finding is the title."""
    comparisons = report["comparisons"]
    if not comparisons:
        raise InputError(f"“{report['study']}” has no comparisons yet: prepare it first")
    columns = min(COLUMNS, len(comparisons))
    rows = -(-len(comparisons) // columns)
    top = max(100 * max(map(_highest_whisker, comparisons)), 10.0)
    with _drawing:
        figure = Figure(figsize=(5.4 * columns + 0.6, 4.9 * rows), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, wspace=0.04)  # type: ignore[union-attr, call-arg]
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, comparison in zip(panels, comparisons, strict=False):
            _bars(panel, comparison, top, report["mark"])
        for panel in panels[len(comparisons) :]:
            panel.set_axis_off()
        return _svg(figure, report["finding"])


def _highest_whisker(comparison: Mapping[str, Any]) -> float:
    """The highest whisker, or bar where there are no whiskers, as a share."""
    ends = [comparison["intervals"][name]["high"] for name in CATEGORIES]
    return max((end if end is not None else share) or 0.0 for end, share in zip(ends, _shares(comparison), strict=True))


def _shares(comparison: Mapping[str, Any]) -> list[float]:
    return [comparison["shares"][name] or 0.0 for name in CATEGORIES]


def _bars(panel: Axes, comparison: Mapping[str, Any], top: float, mark: str) -> None:
    """Draw one comparison; ``top`` is the highest whisker of the whole figure, in percent."""
    shares = [100 * (comparison["shares"][name] or 0.0) for name in CATEGORIES]
    panel.bar(range(5), shares, width=0.82, color=PALETTE, edgecolor="#8A8A8A", linewidth=0.5)
    if comparison["n"]:
        _both_bad(panel, comparison)
        _whiskers(panel, comparison, top)
        _sums(panel, comparison, top)
    panel.set_xticks(
        range(5), ("much\nbetter", "slightly\nbetter", "no\npreference", "slightly\nbetter", "much\nbetter")
    )
    for place, side in ((0.5, "baseline"), (3.5, "candidate")):
        panel.annotate(
            comparison[f"{side}_name"], (place, 0), xycoords=("data", "axes fraction"), xytext=(0, -40),
            textcoords="offset points", ha="center", va="top", size=11, weight="bold", color=INK,
        )  # fmt: skip
    ratings = f"{mark} ratings" if mark else "ratings"
    if mark:
        panel.text(
            2, 1.29 * top, ratings.upper().replace(" ", "\n").replace("REAL\nAND", "REAL AND"), ha="center", va="top",
            size=9, weight="bold", color="#9B1C1C",
        )  # fmt: skip
    count = plural(comparison["n"], f"{mark} rating".strip())
    label = f"n = {count} of {plural(comparison['pairs'], 'pair')} by {plural(comparison['evaluators'], 'evaluator')}"
    panel.set_xlabel(label, size=10, color=QUIET, labelpad=30)
    panel.set_ylabel(f"share of {ratings} (%)", size=10, color=QUIET)
    panel.set_ylim(0, 1.3 * top)
    panel.set_yticks(range(0, int(min(top, 100)) + 1, 10 if top <= 60 else 20))
    panel.set_xlim(-0.6, 4.6)
    panel.set_title(_two_lines(comparison["finding"]), size=12, color=INK, loc="left", pad=12, linespacing=1.35)
    _quiet(panel)


def _both_bad(panel: Axes, comparison: Mapping[str, Any]) -> None:
    """Hatch the part of “no preference” that said that both pictures are bad."""
    if comparison["both_bad"]["n"]:
        share = 100 * comparison["both_bad"]["share"]
        panel.bar(2, share, width=0.82, color="none", edgecolor="#8A8A8A", linewidth=0.5, hatch="////")
        panel.annotate(
            f"both bad\n{share:.0f} %", (2, 0), xytext=(0, 3), textcoords="offset points", ha="center", va="bottom",
            size=9, color=INK, bbox={"facecolor": PALETTE[2], "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip


def _whiskers(panel: Axes, comparison: Mapping[str, Any], top: float) -> None:
    for place, name in enumerate(CATEGORIES):
        share = 100 * comparison["shares"][name]
        limits = [comparison["intervals"][name][key] for key in ("low", "high")]
        if None in limits:  # ratings of one evaluator or one prompt
            panel.text(place, share + 0.02 * top, f"{share:.0f} %", ha="center", va="bottom", color=INK, size=11)
            continue
        low, high = (100 * limit for limit in limits)
        for colour, width in (("white", 2.8), (INK, 1.0)):  # a white edge, seen on the dark bars
            panel.vlines(place, low, high, color=colour, linewidth=width)
            panel.hlines([low, high], place - 0.06, place + 0.06, color=colour, linewidth=width)
        panel.text(place, high + 0.02 * top, f"{share:.0f} %", ha="center", va="bottom", color=INK, size=11)


def _sums(panel: Axes, comparison: Mapping[str, Any], top: float) -> None:
    """Draw a line over either side with its joint share."""
    for place, side, colour in ((0.5, "baseline", PALETTE[0]), (3.5, "candidate", PALETTE[4])):
        panel.hlines(1.15 * top, place - 0.9, place + 0.9, color=colour, linewidth=2.0)
        text = f"{100 * comparison[f'{side}_share']:.0f} % in all"
        panel.text(place, 1.165 * top, text, ha="center", va="bottom", size=10, color=colour)


def _two_lines(finding: str) -> str:
    """Break a finding into two lines before its interval."""
    head, comma, tail = finding.partition(", ")
    return f"{head}{comma.rstrip()}\n{tail}" if comma else finding


def frechet_curve(
    data: Mapping[str, Any], chosen_size: int, *, draw: str = "random", threshold: float | None = None
) -> str:
    """Draw subsets' distance to the whole set over their size, log–log, as SVG; ``data``: ``FrechetCurve.to_dict()``.

    The chosen size is marked on the curve of its ``draw``; a threshold is drawn as a horizontal line.
    """
    curve = FrechetCurve.from_dict(data)
    title = _curve_title(curve.family(draw), chosen_size, draw)
    with _drawing:
        return _svg(_curve_figure(curve, chosen_size, title, draw, threshold), title.replace("\n", " "))


def frechet_curve_png(
    data: Mapping[str, Any], chosen_size: int, *, draw: str = "random", threshold: float | None = None
) -> bytes:
    """Draw the same figure as PNG, 1440 pixels wide."""
    curve = FrechetCurve.from_dict(data)
    title = _curve_title(curve.family(draw), chosen_size, draw)
    with _drawing:
        output = io.BytesIO()
        figure = _curve_figure(curve, chosen_size, title, draw, threshold)
        figure.set_dpi(200)
        FigureCanvasAgg(figure).print_png(output, metadata={"Software": "Evenhand", "Title": title.replace("\n", " ")})
        return output.getvalue()


def _curve_figure(curve: FrechetCurve, chosen_size: int, title: str, draw: str, threshold: float | None) -> Figure:
    distances = np.asarray(curve.distances, float)
    positive = np.all(distances > 0, axis=1)  # the whole set itself has distance 0, which has no logarithm
    if not positive.any():
        return _statement(title)
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
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
    panel.legend(frameon=False, fontsize=10, labelcolor=INK, loc="best")
    _quiet(panel)
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


def _quiet(panel: Axes) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color("#8A8A8A")
    panel.tick_params(colors=INK, labelsize=10, length=3, color="#8A8A8A")


def _svg(figure: Figure, title: str) -> str:
    output = io.StringIO()
    FigureCanvasSVG(figure).print_svg(output, metadata={"Date": None, "Creator": "Evenhand", "Title": title})
    return output.getvalue()
