"""Tell what decides how large a study's pictures are shown: their own size, and the longest text above them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from django.db.models import Max
from django.db.models.functions import Length

from evenhand.studies.models import CheckPair, Pair, Study


@dataclass(frozen=True)
class Display:
    """Width and height of the study's pictures in their own pixels, and characters of its longest prompt.

    mixed: whether there are several sizes; then width and height are the largest, and every picture is shown as large
    as fits into them.
    """

    width: int
    height: int
    longest_prompt: int
    mixed: bool = False


def display_of(study: Study) -> Display:
    """Return what all pairs of a study have in common; from the opening on, when they are frozen, read once."""
    if not study.previewed and study.state in (Study.State.COLLECTING, Study.State.PAUSED, Study.State.CLOSED):
        return _kept(study.pk, f"{study.created_at.isoformat()} {study.recipe_id} {study.subset_id}")
    return _read(study.pk)


@lru_cache(maxsize=256)
def _kept(study_id: int, _made_of: str) -> Display:
    """Read a study's display once. A deleted study's number may be given again, and an opening taken back."""
    return _read(study_id)


def _read(study_id: int) -> Display:
    sizes = set(Study.objects.filter(pk=study_id, recipe__isnull=False).values_list("recipe__width", "recipe__height"))
    sizes = sizes or _uploaded_sizes(study_id) or {(512, 512)}
    longest = [
        pairs.aggregate(n=Max(Length("prompt__text")))["n"] or 0
        for pairs in (
            Pair.objects.filter(comparison__study=study_id),
            CheckPair.objects.filter(study=study_id),
        )
    ]
    width, height = (max(sides) for sides in zip(*sizes, strict=True))
    return Display(width, height, max(longest), len(sizes) > 1)


def _uploaded_sizes(study_id: int) -> set[tuple[int, int]]:
    pairs = Pair.objects.filter(comparison__study=study_id)
    return {
        size
        for side in ("baseline_image", "candidate_image")
        for size in pairs.values_list(f"{side}__width", f"{side}__height").distinct()
    }
