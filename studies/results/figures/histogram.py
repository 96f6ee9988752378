"""Draw the preference histogram (the paper's Fig. 11): five bars a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evenhand.analysis.preference import CATEGORIES
from evenhand.errors import InputError
from evenhand.studies.results.figures.style import LINE, PALETTE, Theme, quiet, render, theme_of
from evenhand.studies.results.report import plural

COLUMNS = 2  # comparisons side by side
WIDTH = 0.82  # of a bar
WHISKER = 0.26  # to the right of the bar's middle; the percentage stands to the left


def histogram(report: Mapping[str, Any], *, dark: bool = False, columns: int = COLUMNS, kind: str = "svg") -> bytes:
    """Draw five bars a comparison, with percentages on them and interval whiskers; the finding is the title."""
    comparisons = report["comparisons"]
    if not comparisons:
        raise InputError(f"“{report['study']}” has no comparisons yet: prepare it first")
    return render(lambda: _figure(report, theme_of(dark), max(1, columns)), report["finding"], kind)


def _figure(report: Mapping[str, Any], theme: Theme, columns: int) -> Figure:
    comparisons = report["comparisons"]
    columns = min(columns, len(comparisons))
    rows = -(-len(comparisons) // columns)
    top = max(100 * max(map(_highest_end, comparisons)), 10.0)
    figure = Figure(figsize=(5.4 * columns + 0.6, 4.9 * rows), layout="constrained", facecolor=theme.ground)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, wspace=0.04)  # type: ignore[union-attr, call-arg]
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, comparison in zip(panels, comparisons, strict=False):
        _bars(panel, comparison, top, report["mark"], theme)
    for panel in panels[len(comparisons) :]:
        panel.set_axis_off()
    return figure


def _shares(comparison: Mapping[str, Any]) -> list[float]:
    return [comparison["shares"][name] or 0.0 for name in CATEGORIES]


def _highest_end(comparison: Mapping[str, Any]) -> float:
    """Return the highest whisker, or bar where there are no whiskers, as a share."""
    ends = [comparison["intervals"][name]["high"] for name in CATEGORIES]
    return max(share if end is None else end for end, share in zip(ends, _shares(comparison), strict=True))


def _bars(panel: Axes, comparison: Mapping[str, Any], top: float, mark: str, theme: Theme) -> None:
    """Draw one comparison; ``top`` is the highest end of the whole figure, in percent."""
    shares = [100 * share for share in _shares(comparison)]
    panel.bar(range(5), shares, width=WIDTH, color=PALETTE, edgecolor=LINE, linewidth=0.5)
    if comparison["n"]:
        _both_bad(panel, comparison)
        _whiskers(panel, comparison, top, theme)
        _sums(panel, comparison, top, theme)
    panel.set_xticks(
        range(5), ("much\nbetter", "slightly\nbetter", "no\npreference", "slightly\nbetter", "much\nbetter")
    )
    for place, side in ((0.5, "baseline"), (3.5, "candidate")):
        panel.annotate(
            comparison[f"{side}_name"], (place, 0), xycoords=("data", "axes fraction"), xytext=(0, -40),
            textcoords="offset points", ha="center", va="top", size=11, weight="bold", color=theme.ink,
        )  # fmt: skip
    ratings = f"{mark} ratings" if mark else "ratings"
    if mark:
        panel.text(
            2, 1.29 * top, ratings.upper().replace(" ", "\n").replace("REAL\nAND", "REAL AND"), ha="center", va="top",
            size=9, weight="bold", color=theme.warning,
        )  # fmt: skip
    count = plural(comparison["n"], f"{mark} rating".strip())
    label = f"n = {count} of {plural(comparison['pairs'], 'pair')} by {plural(comparison['evaluators'], 'evaluator')}"
    panel.set_xlabel(label, size=10, color=theme.quiet, labelpad=30)
    panel.set_ylabel(f"share of {ratings} (%)", size=10, color=theme.quiet)
    panel.set_ylim(0, 1.3 * top)
    panel.set_yticks(range(0, int(min(top, 100)) + 1, 10 if top <= 60 else 20))
    panel.set_xlim(-0.6, 4.6)
    title = _two_lines(comparison["finding"])
    panel.set_title(title, size=12, color=theme.ink, loc="left", pad=12, linespacing=1.35)
    quiet(panel, theme)


def _both_bad(panel: Axes, comparison: Mapping[str, Any]) -> None:
    """Hatch the part of “no preference” that said that both pictures are bad."""
    if comparison["both_bad"]["n"]:
        share = 100 * comparison["both_bad"]["share"]
        panel.bar(2, share, width=WIDTH, color="none", edgecolor=LINE, linewidth=0.5, hatch="////")
        panel.annotate(
            f"both bad\n{share:.0f} %", (2 - WHISKER / 2, 0), xytext=(0, 3), textcoords="offset points", ha="center",
            va="bottom", size=8, color="#222222", bbox={"facecolor": PALETTE[2], "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip


def _whiskers(panel: Axes, comparison: Mapping[str, Any], top: float, theme: Theme) -> None:
    """Write each percentage on its bar, and draw its interval beside it."""
    for place, (name, share) in enumerate(zip(CATEGORIES, _shares(comparison), strict=True)):
        limits = [comparison["intervals"][name][key] for key in ("low", "high")]
        with_interval = None not in limits
        x = place - WHISKER / 2 if with_interval else place
        panel.text(
            x, 100 * share + 0.015 * top, f"{100 * share:.0f} %", ha="center", va="bottom", color=theme.ink, size=11
        )
        if with_interval:
            low, high = (100 * limit for limit in limits)
            for colour, width in ((theme.ground, 2.8), (theme.ink, 1.0)):  # an edge, seen on the bars
                panel.vlines(place + WHISKER, low, high, color=colour, linewidth=width)
                panel.hlines([low, high], place + WHISKER - 0.05, place + WHISKER + 0.05, color=colour, linewidth=width)


def _sums(panel: Axes, comparison: Mapping[str, Any], top: float, theme: Theme) -> None:
    """Draw a line over either side with its joint share."""
    for place, side, colour in ((0.5, "baseline", theme.sides[0]), (3.5, "candidate", theme.sides[1])):
        panel.hlines(1.15 * top, place - 0.9, place + 0.9, color=colour, linewidth=2.0)
        text = f"{100 * comparison[f'{side}_share']:.0f} % in all"
        panel.text(place, 1.165 * top, text, ha="center", va="bottom", size=10, color=colour)


def _two_lines(finding: str) -> str:
    """Break a finding into two lines: behind the arms where both are named, else before the interval."""
    if " preferred to " in finding:
        arms, _, numbers = finding.rpartition(" in ")
        return f"{arms}\nin {numbers}"
    head, comma, tail = finding.partition(", ")
    return f"{head}{comma.rstrip()}\n{tail}" if comma else finding
