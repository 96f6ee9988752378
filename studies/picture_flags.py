"""Count what no evaluator should see: pictures of one colour, and pairs without a visible difference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db.models import Case, Count, Exists, F, OuterRef, Q, Value, When

from evenhand.studies.models import Comparison, ImageScore, Pair, Study
from evenhand.studies.score_names import ONE_COLOUR

NAMED = 5  # prompts
INVISIBLE = 2  # levels of 255, within which nobody sees a difference side by side
EQUAL = Q(baseline_image__sha256=F("candidate_image__sha256")) | Q(largest_difference=0)
ALIKE = ~EQUAL & Q(largest_difference__range=(1, INVISIBLE))
WORDS = {
    "equal_pairs": "of equal pictures",
    "alike_pairs": "of pictures without a visible difference",
    "one_coloured": "with a picture of one colour",
}


@dataclass(frozen=True)
class OddPairs:
    """How many of a study's pairs are odd, and the first prompts of them."""

    count: int
    prompts: tuple[str, ...]


def odd_pairs(study: Study) -> dict[str, OddPairs]:
    """Return the study's odd pairs by kind, from one query.

    equal_pairs: of equal pixels, so that there is nothing to prefer. alike_pairs: that differ, but nowhere by more than
    ``INVISIBLE`` levels. one_coloured: with a picture of one colour, as half precision makes of what is not finite;
    pictures are marked when they are scored, and of one that was not, nothing is known.
    """
    kinds = _kinds()
    rows = (
        Pair.objects.filter(reduce(or_, kinds.values()), comparison__study=study)
        .annotate(**{name: Case(When(kind, then=Value(True)), default=Value(False)) for name, kind in kinds.items()})
        .order_by("prompt__index")
        .values_list("prompt__text", *kinds)
    )
    texts: dict[str, list[str]] = {name: [] for name in kinds}
    for text, *found in rows:
        for name, is_odd in zip(kinds, found, strict=True):
            if is_odd:
                texts[name].append(text)
    return {name: OddPairs(len(found), tuple(dict.fromkeys(found))[:NAMED]) for name, found in texts.items()}


def _kinds() -> dict[str, Q]:
    return {"equal_pairs": EQUAL, "alike_pairs": ALIKE, "one_coloured": _one_coloured()}


def is_odd() -> Q:
    """Return the condition that a pair is odd in any way."""
    return reduce(or_, _kinds().values())


def _one_coloured() -> Q:
    marks = ImageScore.objects.filter(metric=ONE_COLOUR)
    return Q(Exists(marks.filter(image=OuterRef("baseline_image")))) | Q(
        Exists(marks.filter(image=OuterRef("candidate_image")))
    )


def in_words(found: dict[str, OddPairs]) -> list[str]:
    """Say what was found: “3 pairs of equal pictures”; empty where nothing was."""
    return [
        f"{odd.count:,} pair{'' if odd.count == 1 else 's'} {WORDS[name]}" for name, odd in found.items() if odd.count
    ]


def arms_without_effect(study: Study) -> list[Comparison]:
    """Return the comparisons in which no pair has a visible difference."""
    counted = (
        Pair.objects.filter(comparison__study=study)
        .order_by()
        .values("comparison")
        .annotate(pairs=Count("pk"), unseen=Count("pk", filter=EQUAL | ALIKE))
        .filter(pairs=F("unseen"))
    )
    found = Comparison.objects.filter(pk__in=counted.values("comparison"))
    return list(found.select_related("baseline", "candidate").order_by("position"))
