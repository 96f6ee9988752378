"""Calibrate the difference up to which a metric calls two pictures equal, and tell what that is worth on new prompts.

The threshold that meets people's answers best was chosen because it does: on the same pairs its accuracy is too high.
Held-out accuracy is that of Efron & Tibshirani's leave-one-out bootstrap (1997, Journal of the American
Statistical Association 92): prompts are drawn with replacement, the threshold is calibrated on those that were drawn,
and used on those that were not. Its standard error is their delta method after the bootstrap, which takes in that the
threshold itself varies, less the noise of a finite number of draws (Wager, Hastie & Efron 2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evenhand.analysis.clustered import LEVEL, Clusters, Estimate, clusters, design_effect, wilson_estimate

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]
THRESHOLDS = 200  # that are tried at most, quantiles of the differences' sizes
GROUPS = 200  # into which more prompts are put at random, so that draws stay cheap and their noise small
DRAWS = 2000


@dataclass(frozen=True)
class CalibratedAccuracy:
    """The tie threshold that meets people's answers best, and its accuracy.

    threshold: differences of at most this size count as equal. in_sample: accuracy on the pairs that it was chosen on,
    which is too high. held_out: accuracy on prompts that it was not chosen on; ``reason`` says why there is none, and
    all numbers are then NaN that cannot be told.
    """

    threshold: float
    in_sample: float
    held_out: Estimate

    @property
    def optimism(self) -> float:
        """By how much the accuracy on the pairs themselves is above that on others."""
        return self.in_sample - self.held_out.estimate


def said_by(difference: Floats, threshold: float) -> Floats:
    """Return whom the metric prefers: −1 the baseline, 0 neither, 1 the candidate, (N,)."""
    said: Floats = np.where(np.abs(difference) <= threshold, 0.0, np.sign(difference))
    return said


def calibrated_accuracy(
    difference: Floats, side: Floats, groups: Clusters, *, seed: int = 0, level: float = LEVEL
) -> CalibratedAccuracy:
    """Calibrate the threshold on finite differences (N,) and people's sides −1, 0, 1 (N,), of two prompts or more.

    Of thresholds that meet equally many answers the smallest is taken. ``held_out`` has Wilson's interval for as many
    independent pairs as its variance is worth: not more than there are pairs, and fewer by what evaluators add.
    """
    tried = thresholds(difference)
    unit, units = _units(groups, seed)
    hits = hits_by_threshold(difference, side, tried, unit, units)
    best = int(hits.sum(axis=1).argmax())
    share, variance = held_out(hits, np.bincount(unit, minlength=units).astype(np.float64), seed)
    # what evaluators add is told by the answers that the one threshold meets
    met = said_by(difference, tried[best]) == side
    both, alone = design_effect(met, groups), design_effect(met, clusters(np.arange(groups.n), groups.prompt))
    variance *= 1.0 if math.isnan(both) else max(both / alone, 1.0)
    variance = max(variance, share * (1 - share) / groups.n)
    count = share * (1 - share) / variance if 0 < share < 1 else float(min(groups.evaluators, groups.prompts))
    freedom = min(groups.degrees_of_freedom, units - 1)
    estimate = wilson_estimate(share, count, freedom, level=level)
    return CalibratedAccuracy(float(tried[best]), float(hits[best].sum() / groups.n), estimate)


def thresholds(difference: Floats) -> Floats:
    """Return the thresholds that are tried, ascending: 0, and at most ``THRESHOLDS`` of the sizes that occur."""
    sizes = np.unique(np.abs(difference))
    if len(sizes) > THRESHOLDS:
        sizes = np.quantile(np.abs(difference), np.linspace(0, 1, THRESHOLDS), method="inverted_cdf")
    tried: Floats = np.unique(np.append(sizes, 0.0)).astype(np.float64)
    return tried


def hits_by_threshold(difference: Floats, side: Floats, tried: Floats, unit: Numbers, units: int) -> Floats:
    """Count for each threshold how many answers of each unit the metric meets, (T, units)."""
    met, tied = np.sign(difference) == side, side == 0
    changes = np.zeros((len(tried), units))
    # from this threshold on, the metric says that the two are equal
    np.add.at(changes, (np.searchsorted(tried, np.abs(difference)), unit), tied.astype(np.float64) - met)
    at_none: Floats = np.bincount(unit, met, minlength=units).astype(np.float64)
    return at_none + np.cumsum(changes, axis=0)


def held_out(hits: Floats, sizes: Floats, seed: int) -> tuple[float, float]:
    """Return the leave-one-out bootstrap's accuracy and its variance, from hits (T, G) of G units of ``sizes`` (G,)."""
    count = len(sizes)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)
    found = hits[(drawn @ hits.T).argmax(axis=1)]  # (DRAWS, G) hits of the threshold that each draw calibrates
    is_out = drawn == 0
    times = is_out.sum(axis=0)
    by_unit = (is_out * found).sum(axis=0) / times
    share = float(by_unit.sum() / sizes.sum())
    own = (by_unit - share * sizes) / sizes.sum()
    by_draw = (is_out * (found - share * sizes)).sum(axis=1) / sizes.sum()
    terms = (drawn - 1) * (by_draw - by_draw.mean())[:, None] / times
    influence = (2 + 1 / (count - 1)) * own + terms.sum(axis=0)
    variance = float((influence**2).sum() - (terms**2).sum())
    return share, max(variance, count / (count - 1) * float((own**2).sum()))


def _units(groups: Clusters, seed: int) -> tuple[Numbers, int]:
    """Return the unit of each row that is drawn as a whole: its prompt, or one of ``GROUPS`` groups of prompts."""
    if groups.prompts <= GROUPS:
        return groups.prompt, groups.prompts
    shuffled = np.random.default_rng(seed).permutation(groups.prompts) % GROUPS
    return shuffled[groups.prompt], GROUPS
