"""Run the stage that gives every picture of the pairs a CLIP score, of all arms: what metrics say beside people."""

from __future__ import annotations

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Image, Study
from evenhand.studies.pipeline.context import Context, Plan, StageDefinition, cut
from evenhand.studies.pipeline.pictures import IMAGES_SCORED
from evenhand.studies.pipeline.scorers import score_images
from evenhand.studies.pipeline.screening import images_to_screen

METRICS = ("clip",)


def plan_measuring(study: Study, _configuration: StudyConfiguration) -> Plan:
    """Plan batches of the images that evaluators may see."""
    return cut(images_to_screen(study), IMAGES_SCORED)


def measure(context: Context) -> None:
    """Store the CLIP score of each image that has none yet."""
    images = Image.objects.filter(pk__in=context.items).select_related("prompt").order_by("pk")
    score_images(list(images), METRICS, context.configuration)


MEASURE = StageDefinition("measure", "Score all pictures with CLIP", "pictures", "gpu", plan_measuring, measure)
