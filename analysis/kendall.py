"""Compute Kendall's τ-b of two columns whose rows are clustered by prompt and by evaluator.

τ-b (Kendall 1945) compares every two rows: with S those in one order in both columns less those in opposite orders, and
U and V those that differ in the one and in the other column, τ-b = S / √(U V). All three are sums over pairs of rows,
so that τ-b without a cluster follows from sums that each row has with all others and with those of its cluster.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from evenhand.analysis.clustered import LEVEL, ClusterError, Clusters, Estimate, two_way

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]


def kendall_tau_b(first: ArrayLike, second: ArrayLike, groups: Clusters, *, level: float = LEVEL) -> Estimate:
    """Estimate τ-b of two columns (N,) of finite values, −1 … 1, and test that there is no association.

    τ-b is computed anew without each prompt, without each evaluator and without each cell of both; the variance is the
    sum of the first two jackknife variances less the third, and not below the larger of the two. The interval is
    symmetric for artanh τ (Fisher's transformation), with Student's t. Where rows have no evaluator, number each as an
    evaluator of its own: it is then clustered by prompt alone. ``reason`` says why there is no τ-b, or no interval.
    Raises ``ClusterError`` where columns and labels have different lengths. ``docs/statistics.md`` says how often the
    interval holds.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not x.shape == y.shape == groups.prompt.shape:
        raise ClusterError(f"columns {x.shape} and {y.shape} and {groups.n} cluster labels must have one length")
    if len(x) < 2:
        return Estimate(math.nan, reason=f"an order needs at least 2 rows, there {'is 1' if len(x) else 'are none'}")
    if not np.ptp(x) or not np.ptp(y):
        return Estimate(math.nan, reason=f"all values of the {'second' if np.ptp(x) else 'first'} column are equal")
    tau = float(stats.kendalltau(x, y).statistic)
    if groups.reason:
        return Estimate(tau, reason=groups.reason)
    if 1 - abs(tau) < 1e-12:
        return Estimate(tau, reason="both columns order all rows alike, so how much this varies cannot be told")
    variance = _variance(x, y, groups)
    if math.isnan(variance):
        return Estimate(tau, reason="without one cluster all values of a column are equal")
    if variance <= 1e-24:
        return Estimate(tau, reason="no evaluator and no prompt changes it, so the error is not told")
    freedom, error = groups.degrees_of_freedom, math.sqrt(variance)
    stretched, unit = math.atanh(tau), error / (1 - tau * tau)
    reach = float(stats.t.ppf((1 + level) / 2, freedom)) * unit
    p = 2 * float(stats.t.sf(abs(stretched) / unit, freedom))
    return Estimate(tau, error, math.tanh(stretched - reach), math.tanh(stretched + reach), p, freedom)


def _variance(x: Floats, y: Floats, groups: Clusters) -> float:
    """Two-way jackknife variance of τ-b; NaN where it is undefined without one cluster."""
    cells = np.unique(groups.evaluator * groups.prompts + groups.prompt, return_inverse=True)[1].reshape(-1)
    spreads = [_spread(_without_each(x, y, label)) for label in (groups.evaluator, groups.prompt, cells)]
    return math.nan if any(map(math.isnan, spreads)) else two_way(*spreads)


def _spread(values: Floats) -> float:
    """Jackknife variance, from what is found without each of n clusters, (n,)."""
    n = len(values)
    return (n - 1) / n * float(((values - values.mean()) ** 2).sum())


def _without_each(x: Floats, y: Floats, label: Numbers) -> Floats:
    """Return τ-b without each cluster of rows, (G,) for labels 0 … G − 1, NaN where a column is then constant."""
    sums = _row_sums(x, y)
    left = sums.sum(axis=0) - 2 * np.column_stack([np.bincount(label, column) for column in sums.T])
    order = np.argsort(label, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        if len(rows) > 1:  # pairs within the cluster were taken off twice
            left[label[rows[0]]] += _row_sums(x[rows], y[rows]).sum(axis=0)
    signed, product = left[:, 0], left[:, 1] * left[:, 2]
    taus: Floats = np.where(product > 0, signed / np.sqrt(np.where(product > 0, product, 1.0)), np.nan)
    return taus


def _row_sums(x: Floats, y: Floats) -> Floats:
    """Return for each row its S, U and V with all other rows, (N, 3)."""
    n = len(x)
    signed = np.zeros(n)
    for value in np.unique(y):  # people's answers and their means take few values
        among = np.sort(x[y == value])
        below, not_above = np.searchsorted(among, x), np.searchsorted(among, x, side="right")
        signed += np.sign(y - value) * (below - (len(among) - not_above))
    return np.column_stack([signed, _others(x), _others(y)])


def _others(values: Floats) -> Floats:
    """Count for each row those with another value, (N,)."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    others: Floats = (len(values) - counts[index.reshape(-1)]).astype(np.float64)
    return others
