"""Tell how far a metric of pictures agrees with people, pair by pair.

A row is one pair as all its raters saw it (their mean preference) or one rating of a pair. The metric's difference is
its score of the candidate's picture less that of the baseline's; people's preference is −2 … +2 towards the candidate.

**Pairwise accuracy with ties** is acc_eq of Deutsch, Foster & Freitag (2023, "Ties Matter", EMNLP): of all pairs, those
that metric and people order alike or both call equal. Their pairs are any two texts that were scored one by one; here
people compared each pair themselves. So people's side is the sign of the (mean) preference, with none where it is
exactly 0, and the metric's side is the sign of the difference, with none where its size is at most a threshold ε:

    accuracy(ε) = share of rows with metric's side(ε) = people's side.

It is told for ε = 0, and for the ε that is calibrated on the rows (``analysis.tie_threshold``).

**Kendall's τ-b** between difference and preference counts how strong preferences are, too (``analysis.kendall``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenhand.analysis.clustered import LEVEL, Clusters, Estimate, clusters, share_estimate
from evenhand.analysis.kendall import kendall_tau_b
from evenhand.analysis.tie_threshold import CalibratedAccuracy, calibrated_accuracy, said_by
from evenhand.errors import InputError

Floats = NDArray[np.float64]


class MetricAgreementError(InputError):
    """Differences, preferences and labels cannot be compared; the message names the first bad value."""


@dataclass(frozen=True)
class MetricAgreement:
    """How far a metric agrees with people.

    rows         that were compared
    left_out     numbers of rows without a finite difference, from 0, ascending; nothing else is told of them
    most_common  share of the answer (candidate, none, baseline) that people give most: what a metric gets right that
                 always says it; NaN without rows
    accuracy     share of rows in which the metric says what people say, with ε = 0
    calibrated   the same with the calibrated ε
    tau          Kendall's τ-b
    """

    rows: int
    left_out: tuple[int, ...]
    most_common: float
    accuracy: Estimate
    calibrated: CalibratedAccuracy
    tau: Estimate


def metric_agreement(
    difference: ArrayLike,
    preference: ArrayLike,
    prompts: ArrayLike,
    *,
    evaluators: ArrayLike | None = None,
    seed: int = 0,
    level: float = LEVEL,
) -> MetricAgreement:
    """Compare a metric's differences (N,) with people's preferences (N,), −2 … 2, rows clustered by ``prompts`` (N,).

    evaluators  (N,), where a row is one rating: rows are clustered by them too
    seed        of the bootstrap's draws; the same seed always gives the same numbers

    Differences that are not finite are left out and counted. An estimate's ``reason`` says why it has no interval or no
    value: no rows, one prompt or evaluator, a metric or people that always say the same. No interval has width zero.
    Raises ``MetricAgreementError`` for columns of different lengths and for preferences outside −2 … 2.

    >>> found = metric_agreement([0.3, -0.1, 0.2, 0.0], [2, -1, -0.5, 0], ["dog", "cat", "hat", "car"])
    >>> found.accuracy.estimate
    0.75
    """
    scores, wishes, labels = _columns(difference, preference, prompts, evaluators)
    is_known = np.isfinite(scores)
    scores, wishes = scores[is_known], wishes[is_known]
    groups = clusters(*(each[is_known] for each in labels))
    side = np.sign(wishes)
    met = said_by(scores, 0.0) == side
    if reason := _reason(groups, rated=evaluators is not None):
        accuracy = Estimate(float(met.mean()) if len(met) else math.nan, reason=reason)
        calibrated = CalibratedAccuracy(math.nan, math.nan, Estimate(math.nan, reason=reason))
    else:
        accuracy = share_estimate(met, groups, level=level)
        calibrated = calibrated_accuracy(scores, side, groups, seed=seed, level=level)
    return MetricAgreement(
        len(side),
        tuple(np.flatnonzero(~is_known).tolist()),
        float(np.unique(side, return_counts=True)[1].max() / len(side)) if len(side) else math.nan,
        accuracy,
        calibrated,
        _tau(scores, wishes, groups, reason, level),
    )


def _columns(
    difference: ArrayLike, preference: ArrayLike, prompts: ArrayLike, evaluators: ArrayLike | None
) -> tuple[Floats, Floats, tuple[NDArray[Any], NDArray[Any]]]:
    """Check the columns; rows without evaluators are numbered as an evaluator each, so that prompts alone cluster."""
    scores, wishes = np.asarray(difference, dtype=np.float64), np.asarray(preference, dtype=np.float64)
    prompt = np.asarray(prompts)
    people = np.arange(len(prompt)) if evaluators is None else np.asarray(evaluators)
    shapes = [each.shape for each in (scores, wishes, prompt, people)]
    if scores.ndim != 1 or len(set(shapes)) > 1:
        named = ", ".join(str(shape) for shape in shapes)
        raise MetricAgreementError(f"the columns are not lists of one length: {named}")
    is_bad = ~(np.abs(wishes) <= 2)
    if is_bad.any():
        raise MetricAgreementError(f"preference {int(is_bad.argmax())} is {wishes[is_bad][0]:g}, outside −2 … +2")
    return scores, wishes, (people, prompt)


def _reason(groups: Clusters, *, rated: bool) -> str:
    """Say why nothing can be told of other prompts and people; empty if it can."""
    if not groups.n:
        return "there are no pairs that both the metric and people have judged"
    if groups.prompts == 1:
        return "all pairs are of one prompt: how much prompts differ cannot be told"
    return groups.reason if rated else ""


def _tau(scores: Floats, wishes: Floats, groups: Clusters, reason: str, level: float) -> Estimate:
    """Estimate τ-b, and say in words of pairs why there is none."""
    if not len(scores):
        return Estimate(math.nan, reason=reason)
    for values, kind in ((scores, "the metric's differences"), (wishes, "people's preferences")):
        if not np.ptp(values):
            return Estimate(math.nan, reason=f"{kind} are all equal, so they give no order")
    found = kendall_tau_b(scores, wishes, groups, level=level)
    return replace(found, reason=reason) if reason else found
