"""Look at a net share while ratings come in: an interval that holds at every look (a confidence sequence).

An interval of 95 % holds for one look. Who looks after every evaluator, and stops when 0 lies outside, finds a
difference where there is none in 7 to 34 of 100 simulated studies (``docs/statistics.md``). A confidence sequence is
wide enough for all looks together.
This one is the asymptotic sequence of Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024, Annals of Statistics 52),
Robbins' normal mixture, over evaluators, with the two-way clustered error of ``analysis.clustered`` in place of the
error of independent values: after t evaluators

    estimate ± c(t) · error,   c(t)² = (1 + 1/(tρ²)) · log((tρ² + 1) / α²),

where ρ² makes it narrowest at the planned number of evaluators. As errors of few clusters are uncertain themselves,
c(t) is carried over to Student's t by its tail.
"""

from __future__ import annotations

import math
from dataclasses import replace

from scipy import stats

from evenhand.analysis.clustered import LEVEL, Estimate
from evenhand.errors import InputError


class MonitoringError(InputError):
    """A confidence sequence cannot be computed; the message says why."""


def sequence_interval(
    estimate: Estimate, evaluators: int, *, planned: int, limit: float = 1.0, level: float = LEVEL
) -> Estimate:
    """Return an estimate with an interval that holds at every look, and without a p-value.

    evaluators  those whose ratings it is from
    planned     those that the study wants; the interval is narrowest there
    limit       of possible values, −limit … limit: 1 for a net share, 2 for a mean preference

    An estimate without an interval is returned as it is. Raises ``MonitoringError`` for numbers that are not above 0.
    """
    if min(evaluators, planned) < 1 or not 0 < level < 1:
        raise MonitoringError(
            f"evaluators {evaluators} and planned {planned} lie above 0, and the level {level} below 1"
        )
    if estimate.reason:
        return estimate
    reach = sequence_factor(evaluators, estimate.degrees_of_freedom, planned=planned, level=level) * (
        estimate.standard_error
    )
    low, high = max(estimate.estimate - reach, -limit), min(estimate.estimate + reach, limit)
    return replace(estimate, low=low, high=high, p=math.nan)


def sequence_factor(evaluators: int, degrees_of_freedom: int, *, planned: int, level: float = LEVEL) -> float:
    """Return how many standard errors the interval reaches to either side."""
    alpha = 1 - level
    # ρ² times the planned number, which makes the width there almost the smallest
    narrowest = -2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)
    time = evaluators * narrowest / planned
    factor = math.sqrt((time + 1) / time * math.log((time + 1) / alpha**2))
    return float(stats.t.isf(stats.norm.sf(factor), degrees_of_freedom))
