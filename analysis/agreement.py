"""Compute Krippendorff's α, the agreement of evaluators beyond chance (Krippendorff 2004, chapter 11)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenhand.errors import InputError

LEVELS = ("nominal", "ordinal", "interval", "ratio")


class AgreementError(InputError):
    """Agreement of the ratings cannot be computed; the message says why."""


def krippendorff_alpha(ratings: ArrayLike, level: str = "ordinal") -> float:
    """Compute α of ratings (units, raters) with NaN for missing ones.

    1 is perfect agreement, 0 agreement by chance. NaN if no unit has two ratings, or if all ratings are equal (no
    disagreement is then possible). Raises ``AgreementError`` for an unknown level or infinite ratings.
    """
    if level not in LEVELS:
        raise AgreementError(f"level {level!r} is none of {', '.join(LEVELS)}")
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2:
        raise AgreementError(f"ratings must be a (units, raters) table, not of shape {table.shape}")
    if np.isinf(table).any():
        raise AgreementError("ratings must be finite (NaN where missing)")
    values = np.unique(table[~np.isnan(table)])
    counts = (table[:, :, None] == values).sum(axis=1).astype(np.float64)  # (units, values)
    counts = counts[counts.sum(axis=1) >= 2]
    if not len(counts) or (counts.sum(axis=0) > 0).sum() < 2:
        return float("nan")
    coincidences = _coincidences(counts)
    totals = coincidences.sum(axis=0)
    n = totals.sum()
    distance = _distance(values, totals, level)
    observed = (coincidences * distance).sum() / n
    expected = (np.outer(totals, totals) * distance).sum() / (n * (n - 1))
    return float(1.0 - observed / expected)


def _coincidences(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count pairs of values within units, each unit of m ratings weighted by 1/(m−1); (values, values)."""
    weights = 1.0 / (counts.sum(axis=1) - 1.0)
    pairs = np.einsum("uc,uk,u->ck", counts, counts, weights)
    return pairs - np.diag((counts * weights[:, None]).sum(axis=0))


def _distance(values: NDArray[np.float64], totals: NDArray[np.float64], level: str) -> NDArray[np.float64]:
    """Compute squared differences of values at a level of measurement, (values, values)."""
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    difference = values[:, None] - values[None, :]
    if level == "interval":
        return difference**2
    if level == "ratio":
        total = values[:, None] + values[None, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total == 0, 0.0, difference / total) ** 2
    mid_ranks = np.cumsum(totals) - totals / 2.0  # Σ_{g=c}^{k} n_g − (n_c + n_k)/2 is their difference
    return (mid_ranks[:, None] - mid_ranks[None, :]) ** 2
