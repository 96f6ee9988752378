"""Make check pairs: two pictures of which one is plainly better, told by nothing but their pixels.

Their prompts are taken from the first subset outside the final one, so that no evaluator meets them in another pair.
The better image was generated to be scored; the worse one is a damaged copy, or an image of another prompt. The sizes
of the two files differ as those of the study's own pairs do, so that no length tells a check pair or its better side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import InputError
from evenhand.studies.arm_recipes import made_for
from evenhand.studies.arms import arms_of
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.image_store import image_file, store_picture, webp_file
from evenhand.studies.models import CheckPair, Image, Pair, Study, SubsetPrompt
from evenhand.studies.stores.base import StoredFile

STREAM = 7  # of the study's seed
PAIRS_MEASURED = 300  # of the study's, for how much the sizes of two files differ

Sizes = NDArray[np.float64]  # (2,): bytes of a picture as PNG and as WebP


def uses(configuration: StudyConfiguration) -> list[CheckPair.Use]:
    """Return what each check pair is for, in order."""
    example = [CheckPair.Use.EXAMPLE] if configuration.introduction else []
    practice = [CheckPair.Use.PRACTICE] * configuration.practice_trials
    attention = configuration.checks_needed - len(example) - len(practice)
    return [*example, *practice, *[CheckPair.Use.ATTENTION] * attention]


def faults_for(use: str, configuration: StudyConfiguration) -> list[CheckPair.Fault]:
    """Return the faults that the study's criteria tell.

    The example and practice ask the first criterion, attention checks any.
    """
    criteria = configuration.criteria if use == CheckPair.Use.ATTENTION else configuration.criteria[:1]
    return [fault for fault in CheckPair.Fault if any(criterion.tells(fault) for criterion in criteria)]


def fault_of(number: int, use: str, configuration: StudyConfiguration) -> CheckPair.Fault:
    """Return the fault that the check pair of this number gets first: they take turns."""
    faults = faults_for(use, configuration)
    return faults[(number + 1) % len(faults)]


def stream(configuration: StudyConfiguration, *numbers: int) -> np.random.Generator:
    """Return a random generator for check pairs, by the study's seed and further numbers."""
    return np.random.default_rng([configuration.seed, STREAM, *numbers])


def baseline_images_outside(study: Study) -> list[Image]:
    """Return baseline images of distinct prompts outside the final subset, the highest CLIP scores first.

    Those of ready-made pairs are the uploaded ones whose prompts are in no pair.
    """
    if study.subset_id is None:
        return _uploaded_images_outside(study)
    members = SubsetPrompt.objects.filter(subset_id=study.subset_id)
    final_texts = set(members.exclude(stratum="").values_list("prompt__text", flat=True))
    rows = Image.objects.filter(
        prompt__in=members.filter(stratum="").values("prompt"),
        arm=arms_of(study)[0],
        recipe=study.recipe_id,
        state=Image.State.DONE,
    )
    by_text = {image.prompt.text: image for image in rows.select_related("prompt").order_by("-prompt__index", "seed")}
    images = [image for text, image in sorted(by_text.items()) if text not in final_texts]
    scores = dict(members.values_list("prompt", "clip_score"))
    return sorted(images, key=lambda image: (-(scores[image.prompt_id] or 0.0), image.prompt.index))


def _uploaded_images_outside(study: Study) -> list[Image]:
    paired = Pair.objects.filter(comparison__study=study)
    texts = set(paired.values_list("prompt__text", flat=True))
    rows = Image.objects.filter(
        prompt__prompt_set=study.prompt_set_id,
        arm__in=study.comparisons.values("baseline"),
        kind=Image.Kind.UPLOADED,
    )
    images = rows.exclude(pk__in=paired.values("baseline_image")).select_related("prompt").order_by("-prompt__index")
    by_text = {image.prompt.text: image for image in images}
    return [image for text, image in reversed(by_text.items()) if text not in texts]


def worse_image(
    better: Image, fault: str, others: Sequence[Image], ratios: NDArray[np.float64], rng: np.random.Generator
) -> Image:
    """Return the worse picture of a pair; a damaged one's file is stored, its record is not yet saved.

    others: pictures of other prompts to choose from; those of another size are not taken. ratios: of ``size_ratios``;
    the sizes of the pair's two files differ by one of them, as nearly as can be. Raises ``InputError`` where no other
    prompt's picture can be taken.
    """
    ratio = ratios[rng.integers(len(ratios))] ** rng.choice([-1, 1])
    wanted = sizes_of(better.sha256) * ratio
    if fault == CheckPair.Fault.DAMAGED:
        return _damaged_image(better, wanted, rng)
    candidates = exchangeable(better, others)
    if not candidates:
        raise InputError("no other prompt has a picture of this size")
    misses = [float(np.abs(np.log(sizes_of(image.sha256) / wanted)).max()) for image in candidates]
    return candidates[int(np.argmin(misses))]


def exchangeable(better: Image, others: Sequence[Image]) -> list[Image]:
    """Return the pictures of other prompts that have this one's size."""
    size = better.width, better.height
    return [
        image for image in others if image.prompt.text != better.prompt.text and (image.width, image.height) == size
    ]


def size_ratios(study: Study) -> NDArray[np.float64]:
    """Return how the sizes of the two files compare in the study's pairs: (pairs, 2), > 0.

    One row of ones where the study has none.
    """
    if study.subset_id is None:
        pairs = Pair.objects.filter(comparison__study=study).order_by("comparison__position", "prompt__index")
        couples = pairs.values_list("candidate_image__sha256", "baseline_image__sha256")[:PAIRS_MEASURED]
        found = [sizes_of(each) / sizes_of(other) for each, other in couples]
        return np.array(found) if found else np.ones((1, 2))
    ratios = []
    for comparison in study.comparisons.all():
        rows = Image.objects.filter(
            made_for(study),
            prompt__in=SubsetPrompt.objects.filter(subset_id=study.subset_id).exclude(stratum="").values("prompt"),
            arm__in=(comparison.baseline_id, comparison.candidate_id),
            state=Image.State.DONE,
        ).order_by("prompt__index", "seed")
        by_prompt: dict[int, dict[int | None, str]] = {}
        for prompt, arm, sha256 in rows.values_list("prompt", "arm", "sha256")[: 2 * PAIRS_MEASURED]:
            by_prompt.setdefault(prompt, {})[arm] = sha256
        for hashes in by_prompt.values():
            if len(hashes) == 2:
                candidate, baseline = (hashes[arm] for arm in (comparison.candidate_id, comparison.baseline_id))
                ratios.append(sizes_of(candidate) / sizes_of(baseline))
    return np.array(ratios) if ratios else np.ones((1, 2))


def sizes_of(sha256: str) -> Sizes:
    """Return the sizes in which a stored picture is served: as PNG, and as WebP or else PNG again."""
    png = image_file(sha256).size()
    return np.array([png, _size_or(webp_file(sha256), png)], np.float64)


def _size_or(file: StoredFile, other: int) -> int:
    try:
        return file.size()
    except FileNotFoundError:
        return other


def _damaged_image(source: Image, wanted: Sizes, rng: np.random.Generator) -> Image:
    from evenhand.generation.damage import damaged_to_size
    from evenhand.generation.images import decode_png, encode_png, smaller_webp

    def miss(picture: NDArray[np.uint8]) -> float:
        png = encode_png(picture)
        sizes = np.array([len(png), len(smaller_webp(png) or png)], np.float64)
        return float(np.log(sizes / wanted).mean())

    pixels = damaged_to_size(decode_png(image_file(source.sha256).read_bytes()), rng, miss)
    return Image(
        prompt=source.prompt,
        seed=source.seed,
        kind=Image.Kind.ALTERED,
        state=Image.State.DONE,
        sha256=store_picture(encode_png(pixels)),
        width=source.width,
        height=source.height,
        provenance={"altered": "evenhand.generation.damage.damaged_to_size", "source_sha256": source.sha256},
    )
