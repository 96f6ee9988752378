"""Find which prompts of a study's set are meant, and the seed of their images."""

from __future__ import annotations

from django.db.models import QuerySet

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Pair, Prompt, Study, SubsetPrompt

CHOICES = ("final", "first", "all")


def prompts_of(study: Study, which: str) -> QuerySet[Prompt]:
    """Return the prompts of the ``final`` subset, of the ``first``, or ``all`` of the set, by index.

    A study of ready-made pairs has drawn no subset: both are the prompts of its pairs.
    """
    prompts = study.prompt_set.prompts.order_by("index")
    if which == "all":
        return prompts
    if study.subset_id is None:
        return prompts.filter(pk__in=Pair.objects.filter(comparison__study=study.pk).values("prompt"))
    members = SubsetPrompt.objects.filter(subset_id=study.subset_id)
    if which == "final":
        members = members.exclude(stratum="")
    return prompts.filter(pk__in=members.values("prompt"))


def pks_of(study: Study, which: str) -> list[int]:
    """Return the primary keys of ``prompts_of``."""
    return list(prompts_of(study, which).values_list("pk", flat=True))


def seed_of(prompt: Prompt, configuration: StudyConfiguration) -> int:
    """Return the seed of all of a prompt's images: the file's own, or the study's seed plus the prompt's index."""
    return seed_from(prompt.seed, prompt.index, configuration)


def seed_from(seed: int | None, index: int, configuration: StudyConfiguration) -> int:
    """Return the seed of a prompt's images from its own seed, if it has one, and its index."""
    return seed if seed is not None else configuration.seed + index
