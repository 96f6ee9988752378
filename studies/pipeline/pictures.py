"""Run the stages that make images and pairs: baseline, scores, the other arms, pairs.

The baseline's images are scored and stand in its pairs, so the arms stage makes only the candidates' images.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from django.db import transaction

from evenhand.studies.arm_recipes import drawn, made_for, recipes_of
from evenhand.studies.arms import arms_of
from evenhand.studies.chosen_prompts import pks_of, seed_from, seed_of
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.image_store import image_file, store_picture
from evenhand.studies.models import Arm, Comparison, Image, ImageScore, Pair, Prompt, Recipe, Study, SubsetPrompt
from evenhand.studies.pipeline import lost_pictures, model_cache
from evenhand.studies.pipeline.context import Context, Plan, StageDefinition, cut, whole
from evenhand.studies.pipeline.scorers import score_images
from evenhand.studies.work.outage import insist

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMAGES_SCORED = 64  # per batch
PAIRS_WRITTEN = 1000  # at a time: the records of all pairs and pictures of a large study are never held at once

ChosenPrompt = tuple[int, int | None, int, str]  # its number, its own seed, its index, its stratum


class PictureWork(Protocol):
    """What making pictures needs of a claimed piece of work: a batch of the preparation, or a part of a scoring."""

    @property
    def configuration(self) -> StudyConfiguration: ...

    def progress(self, done: int, total: int) -> None: ...

    def confirm(self) -> None: ...

    def count_evaluations(self, evaluations: int) -> None: ...


# ------------------------------------------------------------------------------ generating


def plan_baseline(study: Study, configuration: StudyConfiguration) -> Plan:
    """Plan batches of ``batch_size`` prompts of the first subset; each is one call of the generator."""
    return cut(pks_of(study, "first"), configuration.batch_size)


def plan_arms(study: Study, configuration: StudyConfiguration) -> Plan:
    """Plan batches as for the baseline, over the final subset; those of another recipe name it before the prompts."""
    prompts = pks_of(study, "final")
    batches: Plan = []
    for number in recipes_of(study, arms_of(study)[1:]):
        named = [] if number == study.recipe_id else [{"recipe": number}]
        batches += [([*named, *items], units) for items, units in cut(prompts, configuration.batch_size)]
    return batches


def generate_baseline(context: Context) -> None:
    """Generate the baseline images of a batch of prompts."""
    assert context.study.recipe is not None  # the prompts stage set it
    prompts = list(Prompt.objects.filter(pk__in=context.items).order_by("index"))
    generate_missing(context, context.study.recipe, prompts, arms_of(context.study)[:1])


def generate_arms(context: Context) -> None:
    """Generate all candidate images of a batch's recipe and prompts, from one trajectory."""
    items = context.items
    assert context.study.recipe_id is not None  # the prompts stage set it
    number = context.study.recipe_id
    if isinstance(items[0], dict):
        number, items = items[0]["recipe"], items[1:]
    recipe, arms = recipes_of(context.study, arms_of(context.study)[1:])[number]
    generate_missing(context, recipe, list(Prompt.objects.filter(pk__in=items).order_by("index")), arms)


def generate_missing(work: PictureWork, recipe: Recipe, prompts: list[Prompt], arms: list[Arm]) -> None:
    """Generate the images that ``prompts`` still lack, in one call for all prompts that lack the same arms.

    An image that was made and whose file is lost is made again from its record. Raises ``InputError`` where that gives
    other bytes: people may have rated it, and its scores are stored.
    """
    made = _made(prompts, arms, recipe, work.configuration)
    lost_pictures.ensure([image for image in made if not image_file(image.sha256).exists()])
    stored = {(image.prompt_id, image.arm_id) for image in made}
    groups: dict[tuple[int, ...], list[Prompt]] = {}  # by the places of the missing arms
    for prompt in prompts:
        places = tuple(i for i, arm in enumerate(arms) if (prompt.pk, arm.pk) not in stored)
        if places:
            groups.setdefault(places, []).append(prompt)
    for places, group in groups.items():
        generate_images(work, recipe, group, [arms[i] for i in places])


def _made(prompts: list[Prompt], arms: list[Arm], recipe: Recipe, configuration: StudyConfiguration) -> list[Image]:
    """Return the done images of prompts and arms, whether or not their files are there; one query."""
    seeds = {prompt.pk: seed_of(prompt, configuration) for prompt in prompts}
    found = Image.objects.filter(
        prompt__in=seeds, recipe=recipe, arm__in=arms, state=Image.State.DONE, kind=Image.Kind.GENERATED
    )
    return [image for image in found.defer("provenance") if image.seed == seeds[image.prompt_id]]


def generate_images(work: PictureWork, recipe: Recipe, prompts: list[Prompt], arms: list[Arm]) -> None:
    """Make, store and record the images of all ``arms`` for all ``prompts``, in one call of the generator."""
    from evenhand.generation.images import EncodingThreads
    from evenhand.generation.memory import generate_within_memory

    configuration = work.configuration
    encoder: EncodingThreads[tuple[str, int], str] = EncodingThreads(store_picture)
    with encoder:
        result = generate_within_memory(
            model_cache.pipeline_of(recipe.checkpoint, recipe.revision, recipe.dtype),
            [prompt.text for prompt in prompts],
            [seed_of(prompt, configuration) for prompt in prompts],
            {str(arm.pk): drawn(arm.to_guidance()) for arm in arms},
            steps=recipe.steps,
            scheduler=recipe.scheduler,
            height=recipe.height,
            width=recipe.width,
            batch_size=recipe.batch_size,
            progress=work.progress,
            measure_strength=configuration.measure_strength,
            on_picture=lambda arm, index, pixels: encoder.add((arm, index), pixels),
        )
    insist(lambda: work.count_evaluations(result.evaluations))
    hashes = encoder.results()
    images = [
        image_record(
            recipe,
            arm,
            prompt,
            seed_of(prompt, configuration),
            hashes[str(arm.pk), index],
            result.provenance | effective_strength(result.effective_strengths.get(str(arm.pk)), index),
        )
        for arm in arms
        for index, prompt in enumerate(prompts)
    ]
    record_images(work, images)


def record_images(work: PictureWork, images: list[Image]) -> None:
    """Write the records of images whose files are stored. Raises ``LeaseLost``, and then writes none.

    A record that is there stays as it is: another piece of work drew the same image meanwhile, and may have scored it.
    """

    def write() -> None:
        with transaction.atomic():
            work.confirm()
            Image.objects.bulk_create(images, ignore_conflicts=True)

    insist(write)


def image_record(recipe: Recipe, arm: Arm, prompt: Prompt, seed: int, sha256: str, run: dict[str, Any]) -> Image:
    """Make an unsaved record of an image whose file is stored. run: ``Generated.provenance``."""
    return Image(
        prompt=prompt,
        arm=arm,
        recipe=recipe,
        seed=seed,
        state=Image.State.DONE,
        sha256=sha256,
        height=run["size"]["height"],
        width=run["size"]["width"],
        provenance=provenance(recipe, arm, prompt, seed, run),
    )


def effective_strength(measured: NDArray[np.float64] | None, index: int) -> dict[str, Any]:
    """Return what provenance holds of one picture's strengths: for each iteration [ω, share across], or null.

    measured: ``Generated.effective_strengths`` of the picture's arm, (B, T, 2); None where none was measured.
    """
    if measured is None:
        return {}
    rows = [[round(each, 6) if math.isfinite(each) else None for each in row] for row in measured[index].tolist()]
    return {"effective_strength": [row if row != [None, None] else None for row in rows]}


def provenance(recipe: Recipe, arm: Arm, prompt: Prompt, seed: int, run: dict[str, Any]) -> dict[str, Any]:
    """Return what is needed to make an image again. run: ``Generated.provenance`` of the call that made it."""
    from evenhand.generation.images import png_versions

    return {
        "prompt": prompt.text,
        "seed": seed,
        "guidance": drawn(arm.to_guidance()).to_dict(),
        "checkpoint": recipe.checkpoint,
        "revision": recipe.revision,
        **run,
        "versions": run["versions"] | png_versions(),
    }


# ------------------------------------------------------------------------------ scoring


def plan_score(study: Study, _configuration: StudyConfiguration) -> Plan:
    """Plan batches of images of the first subset."""
    return cut(pks_of(study, "first"), IMAGES_SCORED)


def score(context: Context) -> None:
    """Store the CLIP score of each baseline image and its prompt (method §3.1: raw cosine)."""
    study, configuration = context.study, context.configuration
    baseline = arms_of(study)[0]
    found = Image.objects.filter(prompt__in=context.items, arm=baseline, recipe=study.recipe, state="done")
    images = [image for image in found.select_related("prompt") if image.seed == seed_of(image.prompt, configuration)]
    (metric,) = score_images(images, ("clip",), configuration)
    rows = ImageScore.objects.filter(metric=metric, image__in=images)
    scores = dict(rows.values_list("image__prompt", "value"))
    with transaction.atomic():
        context.confirm()
        for prompt, value in scores.items():
            SubsetPrompt.objects.filter(subset_id=study.subset_id, prompt_id=prompt).update(clip_score=value)


# ------------------------------------------------------------------------------ pairs


def plan_pairs(study: Study, _configuration: StudyConfiguration) -> Plan:
    """Plan one batch with a unit for each pair."""
    comparisons = Comparison.objects.filter(study=study).count()
    return whole(len(pks_of(study, "final")) * comparisons)


def form_pairs(context: Context) -> None:
    """Write a pair for each comparison and final prompt, of two images with the same seed."""
    study = context.study
    members = SubsetPrompt.objects.filter(subset_id=study.subset_id).exclude(stratum="").order_by("prompt__index")
    chosen = list(members.values_list("prompt", "prompt__seed", "prompt__index", "stratum"))
    comparisons = list(Comparison.objects.filter(study=study))
    done, total = 0, len(chosen) * len(comparisons)
    for comparison in comparisons:
        for start in range(0, len(chosen), PAIRS_WRITTEN):
            part = chosen[start : start + PAIRS_WRITTEN]
            rows = _pairs(study, context.configuration, comparison, part)
            with transaction.atomic():
                context.confirm()
                Pair.objects.bulk_create(rows, ignore_conflicts=True)
            done += len(part)
            context.progress(done, total)


def _pairs(
    study: Study, configuration: StudyConfiguration, comparison: Comparison, chosen: list[ChosenPrompt]
) -> list[Pair]:
    """Return unsaved pairs of a comparison, one for each chosen prompt."""
    seeds = {prompt: seed_from(seed, index, configuration) for prompt, seed, index, _ in chosen}
    arms = (comparison.baseline_id, comparison.candidate_id)
    done = Image.objects.filter(made_for(study), prompt__in=seeds, arm__in=arms, state=Image.State.DONE)
    rows = done.exclude(kind=Image.Kind.ALTERED).values_list("prompt", "arm", "seed", "pk")
    images = {(prompt, arm): pk for prompt, arm, seed, pk in rows if seed == seeds[prompt]}
    return [
        Pair(
            comparison=comparison,
            prompt_id=prompt,
            stratum=stratum,
            baseline_image_id=images[prompt, comparison.baseline_id],
            candidate_image_id=images[prompt, comparison.candidate_id],
        )
        for prompt, _, _, stratum in chosen
    ]


BASELINE = StageDefinition("baseline", "Generate baseline images", "pictures", "gpu", plan_baseline, generate_baseline)
SCORE = StageDefinition("score", "Score them with CLIP", "pictures", "gpu", plan_score, score)
ARMS = StageDefinition("arms", "Generate the other arms", "pictures", "gpu", plan_arms, generate_arms)
PAIRS = StageDefinition("pairs", "Form the pairs", "pictures", "cpu", plan_pairs, form_pairs)
