"""Compute the chances of falling between two thresholds, with their slopes, for the models of ordered choices."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
LINKS = ("logit", "probit")


def threshold_basis(thresholds: int, symmetric: bool) -> Floats:
    """Return the T thresholds of the free ones, (T, free).

    All are free, or, symmetric about 0, the positive ones: −θ_m … −θ_1, (0,) θ_1 … θ_m; 0 if their number is odd.
    """
    if not symmetric:
        return np.eye(thresholds)
    free = thresholds // 2
    basis = np.zeros((thresholds, free))
    for j in range(free):
        basis[free - 1 - j, j], basis[thresholds - free + j, j] = -1.0, 1.0
    return basis


def log_difference(above: Floats, below: Floats, link: str) -> Floats:
    """Compute log(F(above) − F(below)) without cancellation."""
    if link == "logit":
        gap = np.log(-np.expm1(below - above))
        return np.asarray(special.log_expit(above) + special.log_expit(-below) + gap)
    flip = above + below > 0  # in the lower tail small differences keep their digits
    high, low = np.where(flip, -below, above), np.where(flip, -above, below)
    log_high, log_low = special.log_ndtr(high), special.log_ndtr(low)
    return np.asarray(log_high + np.log(-np.expm1(log_low - log_high)))


def densities(edge: Floats, log_chance: Floats, link: str) -> tuple[Floats, Floats, Floats]:
    """Compute the density at an edge over the category's chance, and its first two slopes over it; 0 at ±∞."""
    finite = np.isfinite(edge)
    at = np.where(finite, edge, 0.0)
    if link == "logit":
        log_density, bend = special.log_expit(at) + special.log_expit(-at), -np.tanh(at / 2)
        curve = (3 * bend**2 - 1) / 2
    else:
        log_density, bend, curve = -0.5 * at * at - 0.5 * math.log(2 * math.pi), -at, at * at - 1
    density = np.where(finite, np.exp(log_density - log_chance), 0.0)
    return density, density * bend, density * curve
