"""Read what the checkpoint's safety checker flagged among a study's images."""

from __future__ import annotations

from django.db.models import Q

from evenhand.studies.models import Image, ImageScore, Pair, Study

METRIC_PREFIX = "safety:"  # before the checker's name; value 1: it would have hidden the image; 0: it would not


def flagged_images(study: Study) -> set[int]:
    """Return the images of a study's pairs that its checker would have hidden."""
    pairs = Pair.objects.filter(comparison__study=study)
    in_pairs = Q(image__in=pairs.values("baseline_image")) | Q(image__in=pairs.values("candidate_image"))
    return set(
        ImageScore.objects.filter(in_pairs, metric__startswith=METRIC_PREFIX, value=1.0).values_list("image", flat=True)
    )


def flagged_prompts(images: set[int]) -> list[str]:
    """Return the prompts of flagged images, each once, in the prompt set's order."""
    texts = Image.objects.filter(pk__in=images).order_by("prompt__index").values_list("prompt__text", flat=True)
    return list(dict.fromkeys(texts))


def was_screened(study: Study) -> bool:
    """Whether any image of the study's pairs has a verdict."""
    pairs = Pair.objects.filter(comparison__study=study)
    return ImageScore.objects.filter(
        metric__startswith=METRIC_PREFIX, image__in=pairs.values("baseline_image")
    ).exists()
