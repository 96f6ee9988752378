"""What the checkpoint's safety checker said of a study's pictures, for the study admin to look at."""

from __future__ import annotations

from django.db.models import Q

from evenhand.studies.models import Image, ImageScore, Pair, Study

METRIC_PREFIX = "safety:"  # and the checker's name; 1: it would have hidden the picture; 0: it would not


def flagged_images(study: Study) -> set[int]:
    """Images of a study's pairs that its checker would have hidden."""
    pairs = Pair.objects.filter(comparison__study=study)
    ours = Q(image__in=pairs.values("baseline_image")) | Q(image__in=pairs.values("candidate_image"))
    return set(
        ImageScore.objects.filter(ours, metric__startswith=METRIC_PREFIX, value=1.0).values_list("image", flat=True)
    )


def flagged_prompts(images: set[int]) -> list[str]:
    """The prompts of flagged images, each once, in the prompt set's order."""
    texts = Image.objects.filter(pk__in=images).order_by("prompt__index").values_list("prompt__text", flat=True)
    return list(dict.fromkeys(texts))


def was_screened(study: Study) -> bool:
    """Whether any picture of the study's pairs has a verdict."""
    pairs = Pair.objects.filter(comparison__study=study)
    return ImageScore.objects.filter(
        metric__startswith=METRIC_PREFIX, image__in=pairs.values("baseline_image")
    ).exists()
