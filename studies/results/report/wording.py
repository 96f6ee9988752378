"""Say results in words: findings, names of arms, marks of simulated ratings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evenhand.analysis.clustered import LEVEL
from evenhand.studies.models import Arm


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: “1 rating”, “2 ratings”."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def mark_of(population: str, real_count: int, simulated_count: int) -> str:
    """Return the mark of a population's numbers; empty where all ratings are real."""
    if population == "real" or (population == "all" and not simulated_count):
        return ""
    return "real and simulated" if population == "all" and real_count else "simulated"


def marked(text: str, mark: str) -> str:
    """Put a mark behind a text."""
    return f"{text} ({mark})" if mark else text


def answers_in_words(*, free: bool = False) -> tuple[str, ...]:
    """Name the five preferences, −2 first.

    free: whether not every comparison is with the baseline; then arms are called by their places in its name.
    """
    baseline, candidate = ("second arm", "first arm") if free else ("baseline", "candidate")
    return (
        f"{baseline}, strongly", f"{baseline}, slightly", "no preference", f"{candidate}, slightly",
        f"{candidate}, strongly",
    )  # fmt: skip


def finding_of(result: Mapping[str, Any], criteria: int, *, free: bool = False) -> str:
    """State a comparison's result in one sentence; with the criterion's name, where there are several.

    free: whether not every comparison is with the baseline; then both arms are named.
    """
    text = _finding(result, free)
    return text if criteria == 1 else f"{result['criterion'].replace('_', ' ').capitalize()}: {text}"


def _finding(result: Mapping[str, Any], free: bool) -> str:
    """State a result about the arm that was preferred more often."""
    candidate, baseline = result["candidate_name"], result["baseline_name"]
    if not result["n"]:
        return f"{candidate} {f'against {baseline} ' if free else ''}has no ratings yet"
    share, other, ratings = result["candidate_share"], result["baseline_share"], plural(result["n"], "rating")
    if share == other:
        return f"{candidate} and {baseline} preferred equally often, each in {100 * share:.0f} % of {ratings}"
    marked_baseline = f"{baseline} (baseline)" if result["against_baseline"] else baseline
    winner, subject, beaten = (
        ("candidate", candidate, marked_baseline) if share > other else ("baseline", marked_baseline, candidate)
    )
    sentence = (
        f"{subject} preferred {f'to {beaten} ' if free else ''}in {100 * result[f'{winner}_share']:.0f} % of {ratings}"
    )
    if result["no_interval"]:
        return f"{sentence} (no interval: {result['no_interval']})"
    low, high = (100 * result["intervals"][winner][limit] for limit in ("low", "high"))
    return f"{sentence}, {100 * LEVEL:.0f} % interval {low:.0f}–{high:.0f}"


def short_names(arms: Sequence[Arm]) -> dict[int, str]:
    """Name arms for figures, "a = 10" for segmentation-free ones; by the full label where two would share a name."""
    names = {arm.pk: arm.to_guidance().short_name() for arm in arms}
    counts = Counter(names.values())
    return {arm.pk: names[arm.pk] if counts[names[arm.pk]] == 1 else arm.label for arm in arms}
