"""Write numbers as pages and tables show them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NOTHING = "–"


def count(value: float | None) -> str:
    """Write a whole number with its thousands apart: ``12,000``."""
    return NOTHING if value is None else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """Write a share as a whole percentage; a dash where there is none."""
    return NOTHING if share is None or math.isnan(share) else f"{100 * share:.0f} %"


def points(share: float | None) -> str:
    """Write a difference of shares in percentage points, with its sign: ``+12``, ``−3``, ``0``.

    One that would round to 0 has a decimal, so that an interval's end tells on which side of 0 it lies.
    """
    if share is None:
        return NOTHING
    return signed(100 * share, 1 if abs(100 * share) < 0.5 and abs(100 * share) >= 0.05 else 0)


def size(share: float | None) -> str:
    """Write the size of a difference of shares in percentage points, without its sign: ``25``; below 10: ``2.5``."""
    if share is None or math.isnan(share):
        return NOTHING
    value = 100 * abs(share)
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def signed(value: float | None, digits: int = 2) -> str:
    """Write a number with its sign: ``+0.31``, ``−0.02``, ``0.00``."""
    if value is None:
        return NOTHING
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def plain(value: float | None, digits: int = 2) -> str:
    """Write a number; a minus sign is one."""
    if value is None:
        return NOTHING
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 or value > 0 else f"−{text}"


def p_value(p: float | None) -> str:
    """Write a p-value with two significant digits, and never as 0: ``p = 0.031``, ``p < 0.0001``."""
    if p is None:
        return ""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def p_alone(p: float | None) -> str:
    """Write a p-value for a column of them."""
    return p_value(p).removeprefix("p = ").removeprefix("p ") or NOTHING


def seconds(milliseconds: float | None) -> str:
    """Write a time in seconds."""
    return NOTHING if milliseconds is None else f"{milliseconds / 1000:.1f} s"


def with_interval(estimate: Mapping[str, Any], write: Any) -> str:
    """Write an estimate and, where it has one, its interval: ``+12 (+6 to +18)``, ``60 % (54 to 66)``."""
    if estimate["low"] is None:
        return str(write(estimate["estimate"]))
    low, high = (write(estimate[end]).removesuffix(" %") for end in ("low", "high"))
    return f"{write(estimate['estimate'])} ({low} to {high})"


def unbroken(text: str) -> str:
    """Let no line end within “a = 10”, “p = 0.03” or “80 %”."""
    return text.replace(" = ", "\u00a0=\u00a0").replace(" < ", "\u00a0<\u00a0").replace(" %", "\u00a0%")
