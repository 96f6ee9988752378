"""Return a study's arms in the order of their numbers: the baseline, then the candidates."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Prefetch

from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Arm, Comparison, Replication, Study

WITH_ARMS = Comparison.objects.select_related("baseline", "candidate").annotate(
    replicates=Exists(Replication.objects.filter(study=OuterRef("study")))
)


def comparisons_of(study: Study) -> list[Comparison]:
    """Return a study's comparisons by position, with their arms, and whether the study replicates another.

    Where they were fetched with the study (``COMPARISONS``), they are not asked for again.
    """
    if "comparisons" in getattr(study, "_prefetched_objects_cache", {}):
        return sorted(study.comparisons.all(), key=lambda each: each.position)
    return list(WITH_ARMS.filter(study=study).order_by("position"))


COMPARISONS = Prefetch("comparisons", WITH_ARMS)


def arms_of(study: Study) -> list[Arm]:
    """Return the arms of a study whose comparisons are stored, the baseline first; none for a draft."""
    arms: dict[int, Arm] = {}
    for row, (first, second) in zip(comparisons_of(study), configuration_of(study).compared, strict=False):
        arms |= {first: row.baseline, second: row.candidate}
    return [arms[number] for number in sorted(arms)]
