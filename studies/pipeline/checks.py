"""Run the stage that makes check pairs: for the example, for practice and for attention checks."""

from __future__ import annotations

import numpy as np
from django.db import transaction

from evenhand.errors import InputError
from evenhand.studies import check_pairs
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import CheckPair, Image, Study
from evenhand.studies.pipeline import lost_pictures
from evenhand.studies.pipeline.context import Context, Plan, StageDefinition, whole
from evenhand.studies.pipeline.screening import images_to_screen


def plan_checks(_study: Study, configuration: StudyConfiguration) -> Plan:
    """Plan one batch with a unit for each check pair; no batch where the study needs none."""
    return whole(configuration.checks_needed) if configuration.checks_needed else []


def make_checks(context: Context) -> None:
    """Write the check pairs; existing ones are never made again."""
    study, configuration = context.study, context.configuration
    if study.check_pairs.exists():  # all of them: they are written in one transaction
        return
    images = chosen_images(study, configuration, check_pairs.stream(configuration))
    lost_pictures.ensure([*images, *Image.objects.filter(pk__in=images_to_screen(study))])  # whose sizes are compared
    pairs = planned_pairs(study, configuration, images)
    with transaction.atomic():
        context.confirm()
        for pair in pairs:
            if pair.worse.pk is None:
                pair.worse.save()
        CheckPair.objects.bulk_create(pairs)


def chosen_images(study: Study, configuration: StudyConfiguration, rng: np.random.Generator) -> list[Image]:
    """Return baseline images of distinct prompts outside the final subset.

    First, in random order, those with the highest CLIP scores, as many as check pairs are needed; then the others.
    Raises ``InputError`` where there are too few.
    """
    images = check_pairs.baseline_images_outside(study)
    minimum = max(2, configuration.checks_needed)
    if len(images) < minimum:
        raise InputError(
            f"subset_size: practice and attention checks need {minimum} prompts outside the final subset, and the "
            f"first subset of {configuration.subset_size} leaves {len(images)}"
        )
    count = configuration.checks_needed
    return [*(images[int(i)] for i in rng.permutation(count)), *images[count:]]


def planned_pairs(study: Study, configuration: StudyConfiguration, images: list[Image]) -> list[CheckPair]:
    """Return the check pairs unsaved, with their damaged pictures' files stored; ``images`` are the better ones."""
    ratios = check_pairs.size_ratios(study)
    pairs = []
    for number, use in enumerate(check_pairs.uses(configuration)):
        fault = check_pairs.fault_of(number, use, configuration)
        rng = check_pairs.stream(configuration, number)
        worse = check_pairs.worse_image(images[number], fault, images, ratios, rng)
        pairs.append(
            CheckPair(
                study=study,
                number=number,
                use=use,
                fault=fault,
                prompt=images[number].prompt,
                better=images[number],
                worse=worse,
            )
        )
    return pairs


CHECKS = StageDefinition("checks", "Make practice and attention checks", "pictures", "cpu", plan_checks, make_checks)
