"""Find sweeps among a study's arms: one method over several values of a setting, all compared with one arm."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evenhand.generation.guidance import Guidance
from evenhand.generation.methods.settings import settings_of
from evenhand.studies.models import Arm, Comparison

FEWEST_VALUES = 3  # that make a curve

Family = tuple[str, str]  # the swept setting, and all the others as JSON


def sweeps_of(
    comparisons: Sequence[Comparison],
    results: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    baseline: int | None,
) -> list[dict[str, Any]]:
    """Return the preference over the swept setting, for each sweep, arm that it is compared with, and criterion.

    A point's net share is that of the sweep's arm over the arm that it is compared with. An arm of the sweep itself is
    no such arm, unless it is the baseline. baseline: an arm's number in the database.
    """
    by_position = {each.position: each for each in comparisons}
    against: dict[tuple[str, int], list[tuple[Arm, Mapping[str, Any], bool]]] = defaultdict(list)
    for result in results:
        comparison = by_position[result["number"] - 1]
        against[result["criterion"], comparison.baseline_id].append((comparison.candidate, result, False))
        against[result["criterion"], comparison.candidate_id].append((comparison.baseline, result, True))
    arms = {arm.pk: arm for each in comparisons for arm in (each.baseline, each.candidate)}
    return [
        _sweep(family, found) | {"criterion": criterion, "against": names[reference]}
        for (criterion, reference), compared in against.items()
        for family, found in _families(compared)
        if reference == baseline or family not in set(_families_of(arms[reference].to_guidance()))
    ]


def _families_of(guidance: Guidance) -> Iterator[Family]:
    """Yield the sweeps that a guidance may be part of, one for each of its numbers."""
    written = guidance.to_dict()
    for name, value in written.items():
        if type(value) in (int, float):
            rest = {key: other for key, other in written.items() if key != name}
            yield name, json.dumps(rest, sort_keys=True)


def _families(
    compared: Sequence[tuple[Arm, Mapping[str, Any], bool]],
) -> Iterator[tuple[Family, list[tuple[float, Guidance, Mapping[str, Any], bool]]]]:
    """Yield the sweeps among arms that are compared with one arm, in ascending order of the setting."""
    families: dict[Family, list[tuple[float, Guidance, Mapping[str, Any], bool]]] = defaultdict(list)
    for arm, result, turned in compared:
        guidance = arm.to_guidance()
        for family in _families_of(guidance):
            families[family].append((guidance.to_dict()[family[0]], guidance, result, turned))
    for family, found in families.items():
        if len(found) >= FEWEST_VALUES:
            yield family, sorted(found, key=lambda each: each[0])


def _sweep(family: Family, found: Sequence[tuple[float, Guidance, Mapping[str, Any], bool]]) -> dict[str, Any]:
    """Return one curve; ``best``: the value at which the estimate is highest, None before there are ratings."""
    points = [_point(value, result, turned) for value, _, result, turned in found]
    rated = [point for point in points if point["n"]]
    best = max(rated, key=lambda point: point["net"]["estimate"])["value"] if rated else None
    guidance = found[0][1]
    return {
        "method": guidance.method,
        "short": guidance.short,
        "setting": family[0],
        "symbol": settings_of(type(guidance))[family[0]].symbol or family[0],
        "points": points,
        "best": best,
        "at_end": best in (points[0]["value"], points[-1]["value"]),
    }


def _point(value: float, result: Mapping[str, Any], turned: bool) -> dict[str, Any]:
    """Return one arm of a sweep; turned: whether it is the comparison's first arm, so that signs change."""
    net = {name: result["net_share"][name] for name in ("estimate", "low", "high")}
    if turned:
        net = {"estimate": -net["estimate"], "low": -net["high"], "high": -net["low"]}
    own, other = ("baseline", "candidate") if turned else ("candidate", "baseline")
    return {
        "value": value,
        "n": result["n"],
        "comparison": result["number"],
        "preferred": result[f"{own}_share"],
        "other_preferred": result[f"{other}_share"],
        "net": net,
    }
