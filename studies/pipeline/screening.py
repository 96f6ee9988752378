"""Run the stage that screens a study's images with its checkpoint's safety checker.

Flagged images are marked for the study admin to look at; none is hidden, changed or left out automatically.
"""

from __future__ import annotations

from django.db.models import Q

from evenhand.studies.arm_recipes import made_for
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.image_store import image_file
from evenhand.studies.models import Arm, Image, ImageScore, Study, SubsetPrompt
from evenhand.studies.pipeline import lost_pictures, model_cache
from evenhand.studies.pipeline.context import Context, Plan, StageDefinition, cut
from evenhand.studies.safety_flags import METRIC_PREFIX

IMAGES_SCREENED = 64  # per batch


def images_to_screen(study: Study) -> list[int]:
    """Return the images of the final subset's prompts, of all arms: those that evaluators may see."""
    prompts = SubsetPrompt.objects.filter(subset_id=study.subset_id).exclude(stratum="").values("prompt")
    arms = Arm.objects.filter(
        Q(pk__in=study.comparisons.values("baseline")) | Q(pk__in=study.comparisons.values("candidate"))
    )
    images = Image.objects.filter(made_for(study), prompt__in=prompts, arm__in=arms, state=Image.State.DONE)
    return list(images.order_by("pk").values_list("pk", flat=True))


def plan_screening(study: Study, configuration: StudyConfiguration) -> Plan:
    """Plan batches of images; none where the checkpoint certainly has no checker."""
    from evenhand.generation.safety import may_have_checker

    if not may_have_checker(model_cache.checkpoint_location(configuration.checkpoint)):
        return []
    return cut(images_to_screen(study), IMAGES_SCREENED)


def screen(context: Context) -> None:
    """Store the checker's verdict on each image of the batch that has none yet, whichever checkpoint drew it."""
    from evenhand.generation.images import decode_png

    checker = model_cache.safety_screen(context.configuration)
    if checker is None:
        return
    metric = f"{METRIC_PREFIX}{checker.name}"
    images = list(Image.objects.filter(pk__in=context.items).exclude(scores__metric=metric).order_by("pk"))
    lost_pictures.ensure(images)
    flags = checker.flags([decode_png(image_file(image.sha256).read_bytes()) for image in images])
    ImageScore.objects.bulk_create(
        [ImageScore(image=image, metric=metric, value=float(flag)) for image, flag in zip(images, flags, strict=True)],
        ignore_conflicts=True,
    )


SCREEN = StageDefinition("screen", "Screen the pictures", "pictures", "gpu", plan_screening, screen)
