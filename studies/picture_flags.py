"""Count what no evaluator should see: pictures of one colour, and pairs of two equal pictures."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from evenhand.studies.models import ImageScore, Pair, Study
from evenhand.studies.score_names import ONE_COLOUR

NAMED = 5  # prompts


@dataclass(frozen=True)
class OddPairs:
    """How many of a study's pairs are odd, and the first prompts of them."""

    count: int
    prompts: tuple[str, ...]


def equal_pairs(study: Study) -> OddPairs:
    """Return the pairs whose two pictures have the same bytes: there is nothing to prefer."""
    return _first(Pair.objects.filter(comparison__study=study, baseline_image__sha256=F("candidate_image__sha256")))


def one_coloured_pairs(study: Study) -> OddPairs:
    """Return the pairs with a picture of one colour, as half precision makes of what is not finite.

    Pictures are marked when they are scored; of one that was not, nothing is known.
    """
    marks = ImageScore.objects.filter(metric=ONE_COLOUR)
    marked = Q(Exists(marks.filter(image=OuterRef("baseline_image")))) | Q(
        Exists(marks.filter(image=OuterRef("candidate_image")))
    )
    return _first(Pair.objects.filter(marked, comparison__study=study))


def _first(pairs: QuerySet[Pair]) -> OddPairs:
    found = list(pairs.order_by("prompt__index").values_list("prompt__text", flat=True))
    return OddPairs(len(found), tuple(dict.fromkeys(found))[:NAMED])
