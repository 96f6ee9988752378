"""Define how figures look, and turn them into files.

Figures are drawn object by object, without pyplot's global state; matplotlib itself is not thread-safe, so one figure
is drawn at a time. Text stays text, and the same numbers give the same bytes.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from evenhand.errors import InputError

# The backends read these only from rcParams. They are set once for the process and never changed.
mpl.rcParams["svg.fonttype"] = "none"
mpl.rcParams["svg.hashsalt"] = "evenhand"
mpl.rcParams["pdf.fonttype"] = 42  # TrueType: publishers refuse Type 3

PALETTE = ("#B35806", "#F1A340", "#D8D8D8", "#998EC3", "#542788")  # baseline strong … candidate strong
INK, QUIET, LINE = "#222222", "#5A5A5A", "#8A8A8A"
KINDS = {"svg": "image/svg+xml", "png": "image/png", "pdf": "application/pdf"}
PNG_DPI = 200
_drawing = threading.Lock()  # one figure at a time


@dataclass(frozen=True)
class Theme:
    """The colours of a figure; the bars' palette is the same on light and dark grounds."""

    ground: str
    ink: str
    quiet: str
    sides: tuple[str, str]  # text and lines of the baseline's and of the candidate's side
    warning: str


LIGHT = Theme("#FFFFFF", INK, QUIET, (PALETTE[0], PALETTE[4]), "#9B1C1C")
DARK = Theme("#202022", "#ECECEA", "#A9A9A5", ("#F1A340", "#B9A4DD"), "#F08D88")


def theme_of(dark: bool) -> Theme:
    """Return the light or the dark theme."""
    return DARK if dark else LIGHT


def render(build: Callable[[], Figure], title: str, kind: str) -> bytes:
    """Draw a figure as SVG, PNG (200 dots an inch) or PDF; ``InputError`` for another kind."""
    if kind not in KINDS:
        raise InputError(f"a figure is {', '.join(KINDS)}, not {kind!r}")
    title = title.replace("\n", " ")
    output = io.BytesIO()
    with _drawing:
        figure = build()
        if kind == "svg":
            text = io.StringIO()
            FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": "Evenhand", "Title": title})
            return text.getvalue().encode()
        if kind == "pdf":
            metadata: dict[str, Any] = {"CreationDate": None, "Creator": "Evenhand", "Producer": None, "Title": title}
            FigureCanvasPdf(figure).print_pdf(output, metadata=metadata)
            return output.getvalue()
        figure.set_dpi(PNG_DPI)
        FigureCanvasAgg(figure).print_png(output, metadata={"Software": "Evenhand", "Title": title})
    return output.getvalue()


def quiet(panel: Axes, theme: Theme = LIGHT) -> None:
    """Leave a panel its left and lower lines, thin."""
    panel.set_facecolor(theme.ground)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(LINE)
    panel.tick_params(colors=theme.ink, labelsize=10, length=3, color=LINE)
