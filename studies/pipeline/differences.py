"""Run the stage that compares the two pictures of each pair, so that pairs without a visible difference are known."""

from __future__ import annotations

import numpy as np

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.image_store import image_file
from evenhand.studies.models import Pair, Study
from evenhand.studies.pipeline import lost_pictures
from evenhand.studies.pipeline.context import Context, Plan, StageDefinition, cut

PAIRS_COMPARED = 100  # per batch


def plan_differences(study: Study, _configuration: StudyConfiguration) -> Plan:
    """Plan batches of the pairs that are not compared yet."""
    pairs = Pair.objects.filter(comparison__study=study, largest_difference=None)
    return cut(list(pairs.order_by("pk").values_list("pk", flat=True)), PAIRS_COMPARED)


def compare_pairs(context: Context) -> None:
    """Store the largest difference of each pair of the batch; pictures of two sizes are left without one."""
    pairs = list(Pair.objects.filter(pk__in=context.items).select_related("baseline_image", "candidate_image"))
    lost_pictures.ensure([image for pair in pairs for image in (pair.baseline_image, pair.candidate_image)])
    for done, pair in enumerate(pairs, start=1):
        pair.largest_difference = largest_difference(pair.baseline_image.sha256, pair.candidate_image.sha256)
        context.progress(done, len(pairs))
    Pair.objects.bulk_update(pairs, ["largest_difference"])


def largest_difference(one: str, other: str) -> int | None:
    """Return the largest difference of corresponding levels, 0 … 255, of two stored pictures; None for two sizes."""
    from evenhand.generation.images import decode_png

    if one == other:
        return 0
    first, second = (decode_png(image_file(sha256).read_bytes()).astype(np.int16) for sha256 in (one, other))
    return int(np.abs(first - second).max()) if first.shape == second.shape else None


DIFFERENCES = StageDefinition(
    "differences", "Look for pairs without a visible difference", "pictures", "cpu", plan_differences, compare_pairs
)
