"""Store scores that were computed elsewhere, of the pictures of a study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q, QuerySet

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.arm_recipes import made_for
from evenhand.studies.models import Image, ImageScore, Study
from evenhand.studies.score_names import FAMILIES, FLAG, SAFETY

ROWS_PER_WRITE = 2000  # so that nobody waits long for the write lock of SQLite


class ScoreImportError(InputError):
    """Scores that cannot be stored; the message says why, and nothing was stored."""


@dataclass(frozen=True)
class Imported:
    """How many pictures each metric has scores of, and what was left out of the file, in sentences."""

    stored: dict[str, int]
    notes: tuple[str, ...]


def import_scores(
    study: Study, path: Path, *, actor: AbstractBaseUser | None = None, dry_run: bool = False
) -> Imported:
    """Store a file's scores for a study's pictures; a score of one metric and picture replaces an earlier one.

    Raises ``ScoreImportError`` for a metric with a name that this program gives, and ``ScoreFileError`` for a file that
    cannot be read.
    """
    from evenhand.metrics.score_files import read_scores

    images: dict[str, list[int]] = {}
    for pk, sha256 in _images_of(study).values_list("pk", "sha256").iterator():
        images.setdefault(sha256, []).append(pk)
    if not images:
        raise ScoreImportError(f"“{study.name}” has no pictures")
    found = read_scores(path, images)
    taken = [name for name in found.by_metric if name.partition(":")[0] in FAMILIES or name.startswith((FLAG, SAFETY))]
    if taken:
        raise ScoreImportError(
            f"{path.name}: the metric’s name {taken[0]!r} is given by this program; choose another one"
        )
    scores = [
        ImageScore(image_id=pk, metric=metric, value=value)
        for metric, values in found.by_metric.items()
        for sha256, value in values.items()
        for pk in images[sha256]
    ]
    counts = {metric: len(values) for metric, values in found.by_metric.items()}
    if not dry_run:
        with transaction.atomic():
            for start in range(0, len(scores), ROWS_PER_WRITE):
                ImageScore.objects.bulk_create(
                    scores[start : start + ROWS_PER_WRITE],
                    update_conflicts=True,
                    unique_fields=["image", "metric"],
                    update_fields=["value"],
                )
            audit.record(study, "scores imported", actor=actor, file=path.name, metrics=counts)
    return Imported(counts, found.notes)


def _images_of(study: Study) -> QuerySet[Image]:
    """Return the pictures of the study's recipes, or those that were uploaded for its arms."""
    rows = Image.objects.filter(prompt__prompt_set=study.prompt_set_id, state=Image.State.DONE)
    if study.recipe_id is not None:
        return rows.filter(made_for(study))
    comparisons = study.comparisons.order_by()
    arms = Q(arm__in=comparisons.values("baseline")) | Q(arm__in=comparisons.values("candidate"))
    return rows.filter(arms, kind=Image.Kind.UPLOADED)
