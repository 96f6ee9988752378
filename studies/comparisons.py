"""Define which arms of a study are compared: pairs of arm numbers, checked in words.

Arm 0 is the baseline, whose pictures are scored to choose the prompts; 1 … are the candidates. Of a comparison (i, j)
results say how often arm j is preferred to arm i.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from evenhand.errors import InputError

Compared = tuple[tuple[int, int], ...]

MOST_COMPARISONS = 66  # all pairs of twelve arms
WORDS = {"baseline": "each candidate against the baseline", "all_pairs": "all pairs of arms"}


def against_baseline(arms: int) -> Compared:
    """Compare each candidate with the baseline."""
    return tuple((0, candidate) for candidate in range(1, arms))


def all_pairs(arms: int) -> Compared:
    """Compare every two arms: n(n − 1)/2 comparisons of n arms, those with the baseline first."""
    return tuple(combinations(range(arms), 2))


def problem(comparisons: Sequence[Sequence[int]], arms: int) -> str:
    """Say what is wrong with comparisons of ``arms`` arms; empty where nothing is."""
    if len(comparisons) > MOST_COMPARISONS:
        return f"{len(comparisons)} comparisons are too many, {MOST_COMPARISONS} are the most"
    seen: set[frozenset[int]] = set()
    for pair in comparisons:
        found = _pair_problem(pair, arms)
        if found:
            return found
        if frozenset(pair) in seen:
            return f"arms {pair[0]} and {pair[1]} are compared twice; turned round it is the same comparison"
        seen.add(frozenset(pair))
    unused = sorted(set(range(arms)).difference(*seen)) if seen else []
    return f"arm {unused[0]} is in no comparison" if unused else ""


def _pair_problem(pair: Sequence[int], arms: int) -> str:
    if len(pair) != 2 or not all(type(arm) is int for arm in pair):
        return f"a comparison is two arm numbers, such as [0, 1], not {list(pair)!r}"
    for arm in pair:
        if not 0 <= arm < arms:
            return f"there is no arm {arm}: 0 is the baseline, and the candidates are 1 to {arms - 1}"
    return f"arm {pair[0]} is compared with itself" if pair[0] == pair[1] else ""


def read_comparisons(value: Any, arms: int) -> Compared:
    """Read comparisons from JSON: a list of pairs, ``baseline`` or ``all_pairs``. Raises ``InputError``."""
    if value == "baseline":
        return ()
    if value == "all_pairs":
        return all_pairs(arms)
    if not isinstance(value, list) or not all(isinstance(pair, list) for pair in value):
        raise InputError(f"comparisons are pairs of arm numbers, “baseline” or “all_pairs”, not {value!r}")
    return tuple(tuple(pair) for pair in value)


def parts(comparisons: Sequence[tuple[Any, Any]]) -> list[list[Any]]:
    """Return the arms in groups that no comparison connects, each in the order in which its arms appear."""
    groups: list[list[Any]] = []
    for pair in comparisons:
        touched = [group for group in groups if pair[0] in group or pair[1] in group]
        merged = list(dict.fromkeys(arm for group in (*touched, list(pair)) for arm in group))
        place = groups.index(touched[0]) if touched else len(groups)
        groups = [group for group in groups if group not in touched]
        groups.insert(place, merged)
    return groups


def places_of(old: Sequence[Any], new: Sequence[Any]) -> dict[int, int]:
    """Return the numbers that ``old`` arms have among ``new`` ones, by their old numbers; none for one that is gone.

    Equal arms are the same. What is left of both is matched in order: arms whose settings were changed.
    """
    free = list(range(len(new)))
    places: dict[int, int] = {}
    for number, arm in enumerate(old):
        same = next((place for place in free if new[place] == arm), None)
        if same is not None:
            places[number] = same
            free.remove(same)
    return places | dict(zip((number for number in range(len(old)) if number not in places), free, strict=False))


def followed(comparisons: Sequence[tuple[int, int]], old: Sequence[Any], new: Sequence[Any]) -> Compared:
    """Carry comparisons over from ``old`` arms to ``new`` ones.

    A comparison of an arm that is gone is dropped, and an arm without a comparison is compared with the baseline.
    """
    places = places_of(old, new)
    carried = [(places[i], places[j]) for i, j in comparisons if i in places and j in places]
    used = {arm for pair in carried for arm in pair}
    return (*carried, *((0, arm) for arm in range(1, len(new)) if arm not in used))
