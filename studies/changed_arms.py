"""Change a plan's candidates, with what counts arms or comparisons following them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evenhand.generation.guidance import Guidance
from evenhand.studies.comparisons import Compared, against_baseline, all_pairs, followed, places_of
from evenhand.studies.configuration import ConfigurationError, StudyConfiguration


def with_candidates(configuration: StudyConfiguration, candidates: Sequence[Guidance]) -> StudyConfiguration:
    """Return a plan with other candidates: its comparisons stay with their arms, and all pairs stay all pairs.

    The primary outcome stays with its two arms; where one is gone, it is the first comparison. Raises
    ConfigurationError where the candidates cannot be these.
    """
    old, new = configuration.arms, (configuration.baseline, *candidates)
    if configuration.compared == all_pairs(len(old)) and configuration.comparisons:
        comparisons = all_pairs(len(new))
    else:
        comparisons = followed(configuration.comparisons, old, new) if configuration.comparisons else ()
    primary = followed_primary(configuration, new, comparisons) or 1
    return replace(configuration, candidates=tuple(candidates), comparisons=comparisons, primary_comparison=primary)


def followed_primary(
    configuration: StudyConfiguration,
    arms: Sequence[Guidance],
    comparisons: Compared,
    before: Sequence[Guidance] | None = None,
) -> int | None:
    """Return the number, from 1, of the plan's primary comparison among others of ``arms``; None where it is gone.

    comparisons: as in a plan, so that none are each candidate against the baseline. before: the plan's arms, with what
    changed of all of them at once.
    """
    places = places_of(configuration.arms if before is None else before, arms)
    first, second = (places.get(arm) for arm in configuration.compared[configuration.primary_comparison - 1])
    compared = comparisons or against_baseline(len(arms))
    numbers = {frozenset(pair): number for number, pair in enumerate(compared, 1)}  # turned round it is the same one
    return numbers.get(frozenset((first, second)))  # type: ignore[arg-type]


def kept_primary(
    configuration: StudyConfiguration, arms: Sequence[Guidance], comparisons: Compared, before: Sequence[Guidance]
) -> int:
    """Return the number of the primary comparison, which stays with its two arms where the plan names one.

    Parameters are those of ``followed_primary``.
    Raises ConfigurationError where these are compared no more.
    """
    if configuration.primary_comparison == 1 and not configuration.primary_criterion:
        return 1
    number = followed_primary(configuration, arms, comparisons, before)
    if number is None:
        raise ConfigurationError({"primary_comparison": "its two arms are compared no more: choose another comparison"})
    return number
