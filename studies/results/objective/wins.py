"""Compare arms picture by picture: how often a metric prefers the candidate's (the paper's Table 2)."""

from __future__ import annotations

from typing import Any

from evenhand.analysis.win_rate import win_rate
from evenhand.studies.results.objective.scores import PictureScores, Scope


def wins_of(scope: Scope, scores: PictureScores) -> list[dict[str, Any]]:
    """Return wins, ties, losses and (W + T/2)/n of the second arm of each comparison against the first, by each metric.

    An arm that a scoring added is held against the study's baseline.
    candidate, baseline: places of the second and the first arm among the report's arms.
    """
    if not scope.couples:
        return []
    couples = [*scope.couples, *((place, 0) for place in range(scope.own, len(scope.arms)))]
    found = []
    for metric, table in scores.values.items():
        for candidate, baseline in couples:
            result = win_rate(table[:, candidate], table[:, baseline], scores.prompts)
            found.append(
                {
                    "metric": metric,
                    "candidate": candidate,
                    "baseline": baseline,
                    "n": result.pairs,
                    "wins": _count(result.win.estimate, result.pairs),
                    "ties": _count(result.tie.estimate, result.pairs),
                    "losses": _count(result.lose.estimate, result.pairs),
                    "left_out": len(result.left_out),
                    "rate": {
                        "estimate": result.rate.estimate,
                        "low": result.rate.low,
                        "high": result.rate.high,
                        "p": result.rate.p,
                        "reason": result.rate.reason,
                    },
                }
            )
    return found


def _count(share: float, pairs: int) -> int:
    return round(share * pairs) if pairs else 0
