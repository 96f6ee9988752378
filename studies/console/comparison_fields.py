"""Define the plan's fields for which arms are compared: a choice, and a box for every two arms of a stored plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from evenhand.generation.guidance import Guidance
from evenhand.studies.comparisons import Compared, against_baseline, all_pairs, followed
from evenhand.studies.configuration import StudyConfiguration, arm_label

MOST_ARMS_SHOWN = 12  # with a box for every two of them
CHOICES = (
    ("baseline", "Each candidate against the baseline"),
    ("all_pairs", "All pairs of arms"),
    ("chosen", "The pairs that are ticked below"),
)


def compare_field() -> forms.ChoiceField:
    """Return the field of the choice."""
    return forms.ChoiceField(choices=CHOICES[:2], initial="baseline", label="Arms compared", required=False)


def pair_fields(configuration: StudyConfiguration) -> dict[str, forms.BooleanField]:
    """Return a box for every two arms of a stored plan by its field's name; none where there is nothing to choose."""
    labels = [arm_label(arm) for arm in configuration.arms]
    if len(labels) < 3:
        return {}
    return {
        _name(pair): forms.BooleanField(required=False, label=f"{labels[pair[1]]} against {labels[pair[0]]}")
        for pair in _offered(configuration)
    }


def _name(pair: tuple[int, int]) -> str:
    return f"pair_{pair[0]}_{pair[1]}"


def _offered(configuration: StudyConfiguration) -> list[tuple[int, int]]:
    """Return the pairs that can be chosen: the plan's own as they are, then the others."""
    own = list(configuration.compared)
    count = len(configuration.arms)
    others = all_pairs(count) if count <= MOST_ARMS_SHOWN else ()
    compared = {frozenset(pair) for pair in own}
    return own + [pair for pair in others if frozenset(pair) not in compared]


def initial_of(configuration: StudyConfiguration) -> dict[str, Any]:
    """Return the values that show a stored plan's comparisons."""
    compared = set(configuration.compared)
    values: dict[str, Any] = {_name(pair): pair in compared for pair in _offered(configuration)}
    return values | {"compare": choice_of(configuration)}


def choice_of(configuration: StudyConfiguration) -> str:
    """Name the choice that a plan's comparisons are."""
    if configuration.compared == against_baseline(len(configuration.arms)):
        return "baseline"
    return "all_pairs" if configuration.compared == all_pairs(len(configuration.arms)) else "chosen"


def comparisons_of(values: Mapping[str, Any], stored: StudyConfiguration | None, arms: Sequence[Guidance]) -> Compared:
    """Return the comparisons that a form chooses for ``arms``; ticked pairs are of the stored plan's arms.

    Without a choice the stored plan's stay.
    """
    choice = values.get("compare")
    if not choice:
        return followed(list(stored.compared), stored.arms, arms) if stored and stored.comparisons else ()
    if choice == "all_pairs":
        return all_pairs(len(arms))
    if choice == "baseline" or stored is None:
        return ()
    ticked = [pair for pair in _offered(stored) if values.get(_name(pair))]
    return followed(ticked, stored.arms, arms)


def counts_in_words(configuration: StudyConfiguration) -> str:
    """Say how many comparisons each choice makes of a plan, and how many ratings each pair then gets."""
    count = len(configuration.arms)
    if count < 3:
        return "With three arms or more, all pairs tell how the candidates compare with each other."
    usual, every = len(against_baseline(count)), len(all_pairs(count))
    return (
        f"As the plan stands, its {count} arms make {usual} comparisons with the baseline, "
        f"{ratings_a_pair(configuration, usual):.2g} ratings a pair, or {every} in all pairs, "
        f"{ratings_a_pair(configuration, every):.2g} ratings a pair."
    )


def ratings_a_pair(configuration: StudyConfiguration, comparisons: int, prompts: int | None = None) -> float:
    """Return how many ratings a pair gets by one criterion, on average, where everybody rates all of a booklet.

    prompts: how many the pairs have, where the configuration does not say it.
    """
    prompts = prompts or configuration.per_stratum * len(configuration.percentiles)
    runs = len(configuration.criteria) if configuration.runs else 1
    return configuration.quota * configuration.trials_per_evaluator / (prompts * comparisons * runs)
