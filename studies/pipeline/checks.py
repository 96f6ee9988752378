"""Run the stage that makes check pairs: for the example, for practice and for attention checks.

Their prompts are taken from the first subset outside the final one, so that no evaluator meets them in another pair.
The better image was generated to be scored; the worse one is a damaged copy, or an image of another prompt.
"""

from __future__ import annotations

import numpy as np
from django.db import transaction

from evenhand.errors import InputError
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.image_store import image_path, store_image
from evenhand.studies.models import CheckPair, Image, Study, SubsetPrompt
from evenhand.studies.pipeline.context import Context, Plan, StageDefinition, whole

STREAM = 7  # of the study's seed


def plan_checks(_study: Study, configuration: StudyConfiguration) -> Plan:
    """Plan one batch with a unit for each check pair; no batch where the study needs none."""
    return whole(configuration.checks_needed) if configuration.checks_needed else []


def uses(configuration: StudyConfiguration) -> list[CheckPair.Use]:
    """Return what each check pair is for, in order."""
    example = [CheckPair.Use.EXAMPLE] if configuration.introduction else []
    practice = [CheckPair.Use.PRACTICE] * configuration.practice_trials
    attention = configuration.checks_needed - len(example) - len(practice)
    return [*example, *practice, *[CheckPair.Use.ATTENTION] * attention]


def make_checks(context: Context) -> None:
    """Write the check pairs; existing ones are never made again."""
    from evenhand.generation.damage import damaged
    from evenhand.generation.images import decode_png, encode_png

    study, configuration = context.study, context.configuration
    if study.check_pairs.exists():  # all of them: they are written in one transaction
        return
    rng = np.random.default_rng([configuration.seed, STREAM])
    images = baseline_images_outside(study, configuration, rng)
    rows = []
    with transaction.atomic():
        for number, use in enumerate(uses(configuration)):
            better = images[number]
            if fault_of(number, use, configuration) == CheckPair.Fault.DAMAGED:
                pixels = damaged(decode_png(image_path(better.sha256).read_bytes()), rng)
                fault, worse = CheckPair.Fault.DAMAGED, _create_altered(better, store_image(encode_png(pixels)))
            else:
                others = [image for image in images if image.prompt.text != better.prompt.text]
                fault, worse = CheckPair.Fault.OTHER_PROMPT, others[int(rng.integers(len(others)))]
            rows.append(
                CheckPair(
                    study=study, number=number, use=use, fault=fault,
                    prompt=better.prompt, better=better, worse=worse,
                )
            )  # fmt: skip
        CheckPair.objects.bulk_create(rows)


def fault_of(number: int, use: CheckPair.Use, configuration: StudyConfiguration) -> CheckPair.Fault:
    """Return a check pair's fault: by turns, of those that the study's criteria tell.

    The example and practice ask the first criterion, attention checks any.
    """
    criteria = configuration.criteria if use == CheckPair.Use.ATTENTION else configuration.criteria[:1]
    faults = [fault for fault in CheckPair.Fault if any(criterion.tells(fault) for criterion in criteria)]
    return faults[(number + 1) % len(faults)]


def baseline_images_outside(study: Study, configuration: StudyConfiguration, rng: np.random.Generator) -> list[Image]:
    """Return baseline images of distinct prompts outside the final subset.

    First, in random order, those with the highest CLIP scores, as many as check pairs are needed; then the others.
    Raises ``InputError`` where there are too few.
    """
    members = SubsetPrompt.objects.filter(subset_id=study.subset_id)
    final_texts = set(members.exclude(stratum="").values_list("prompt__text", flat=True))
    comparison = study.comparisons.first()
    assert comparison is not None  # the prompts stage made it
    rows = Image.objects.filter(
        prompt__in=members.filter(stratum="").values("prompt"),
        arm=comparison.baseline_id,
        recipe=study.recipe_id,
        state=Image.State.DONE,
    )
    by_text = {image.prompt.text: image for image in rows.select_related("prompt").order_by("-prompt__index", "seed")}
    images = [image for text, image in sorted(by_text.items()) if text not in final_texts]
    minimum = max(2, configuration.checks_needed)
    if len(images) < minimum:
        raise InputError(
            f"subset_size: practice and attention checks need {minimum} prompts outside the final subset, and the "
            f"first subset of {configuration.subset_size} leaves {len(images)}"
        )
    scores = dict(members.values_list("prompt", "clip_score"))
    images.sort(key=lambda image: (-(scores[image.prompt_id] or 0.0), image.prompt.index))
    count = configuration.checks_needed
    return [*(images[int(i)] for i in rng.permutation(count)), *images[count:]]


def _create_altered(source: Image, sha256: str) -> Image:
    return Image.objects.create(
        prompt=source.prompt,
        seed=source.seed,
        kind=Image.Kind.ALTERED,
        state=Image.State.DONE,
        sha256=sha256,
        width=source.width,
        height=source.height,
        provenance={"altered": "evenhand.generation.damage.damaged", "source_sha256": source.sha256},
    )


CHECKS = StageDefinition("checks", "Make practice and attention checks", "pictures", "cpu", plan_checks, make_checks)
