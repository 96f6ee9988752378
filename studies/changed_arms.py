"""Change a plan's candidates, with what counts arms or comparisons following them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evenhand.generation.guidance import Guidance
from evenhand.studies.comparisons import all_pairs, followed, places_of
from evenhand.studies.configuration import StudyConfiguration


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
    changed = replace(configuration, candidates=tuple(candidates), comparisons=comparisons, primary_comparison=1)
    places = places_of(old, new)
    first, second = (places.get(arm) for arm in configuration.compared[configuration.primary_comparison - 1])
    if (first, second) not in changed.compared:
        return changed
    return replace(changed, primary_comparison=1 + [*changed.compared].index((first, second)))  # type: ignore[arg-type]
