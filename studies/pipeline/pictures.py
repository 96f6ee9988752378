"""The stages that make pictures: baseline, scores, the other arms, pairs.

The scored classifier-free image is the baseline of every pair, so the arms stage only makes what is missing.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.image_store import image_path, store_image
from evenhand.studies.models import Arm, Comparison, Image, ImageScore, Pair, Prompt, Recipe, Study, SubsetPrompt
from evenhand.studies.pipeline import model_cache
from evenhand.studies.pipeline.context import Context, Plan, StageDefinition, cut, whole


def seed_of(prompt: Prompt, configuration: StudyConfiguration) -> int:
    """The seed of all of a prompt's images: the file's own, or the study's seed plus the prompt's index."""
    return prompt.seed if prompt.seed is not None else configuration.seed + prompt.index


def _members(study: Study, *, final: bool) -> list[int]:
    members = SubsetPrompt.objects.filter(subset_id=study.subset_id)
    if final:
        members = members.exclude(stratum="")
    return list(members.order_by("prompt__index").values_list("prompt_id", flat=True))


def _arms(study: Study) -> tuple[Arm, list[Arm]]:
    comparisons = list(Comparison.objects.filter(study=study).select_related("baseline", "candidate"))
    return comparisons[0].baseline, [c.candidate for c in comparisons]


# ------------------------------------------------------------------------------ generating


def plan_baseline(study: Study, configuration: StudyConfiguration) -> Plan:
    """One batch is one call of the generator: ``batch_size`` prompts of the first subset."""
    return cut(_members(study, final=False), configuration.batch_size)


def plan_arms(study: Study, configuration: StudyConfiguration) -> Plan:
    """As for the baseline, over the final subset."""
    return cut(_members(study, final=True), configuration.batch_size)


def generate_baseline(context: Context) -> None:
    """The baseline images of a batch of prompts."""
    baseline, _ = _arms(context.study)
    _generate_missing(context, [baseline])


def generate_arms(context: Context) -> None:
    """All candidate images of a batch of prompts, from one trajectory."""
    _, candidates = _arms(context.study)
    _generate_missing(context, candidates)


def _generate_missing(context: Context, arms: list[Arm]) -> None:
    configuration, recipe = context.configuration, context.study.recipe
    assert recipe is not None  # the prompts stage set it
    prompts = list(Prompt.objects.filter(pk__in=context.items).order_by("index"))
    missing: dict[tuple[int, ...], list[Prompt]] = {}
    for prompt in prompts:
        there = _present(prompt, arms, recipe, seed_of(prompt, configuration))
        lacking = tuple(i for i, arm in enumerate(arms) if arm.pk not in there)
        if lacking:
            missing.setdefault(lacking, []).append(prompt)
    for lacking, group in missing.items():
        generate_images(context, recipe, group, [arms[i] for i in lacking])


def _present(prompt: Prompt, arms: list[Arm], recipe: Recipe, seed: int) -> set[int]:
    """Arms whose image of this prompt is done and whose file is really there."""
    rows = Image.objects.filter(
        prompt=prompt, recipe=recipe, seed=seed, arm__in=arms, state=Image.State.DONE, kind=Image.Kind.GENERATED
    ).values_list("arm_id", "sha256")
    return {arm for arm, sha256 in rows if arm is not None and image_path(sha256).exists()}


def generate_images(context: Context, recipe: Recipe, prompts: list[Prompt], arms: list[Arm]) -> None:
    """Make, store and record the images of all ``arms`` for all ``prompts``, in one call of the generator."""
    from evenhand.generation.images import EncodingThreads
    from evenhand.generation.memory import generate_within_memory

    configuration = context.configuration
    seeds = [seed_of(prompt, configuration) for prompt in prompts]
    stored: EncodingThreads[tuple[str, int], str] = EncodingThreads(store_image)
    with stored:
        result = generate_within_memory(
            model_cache.pipeline(configuration, recipe),
            [prompt.text for prompt in prompts],
            seeds,
            {str(arm.pk): arm.to_guidance() for arm in arms},
            steps=recipe.steps,
            scheduler=recipe.scheduler,
            height=recipe.height,
            width=recipe.width,
            batch_size=recipe.batch_size,
            progress=context.progress,
            on_picture=lambda arm, index, picture: stored.add((arm, index), picture),
        )
    context.count_evaluations(result.evaluations)
    hashes, size = stored.results(), result.provenance["size"]
    made = [(arm, index) for arm in arms for index in range(len(prompts))]
    Image.objects.bulk_create(
        [
            Image(
                prompt=prompts[index],
                arm=arm,
                recipe=recipe,
                seed=seeds[index],
                state=Image.State.DONE,
                sha256=hashes[str(arm.pk), index],
                height=size["height"],
                width=size["width"],
                provenance=provenance(recipe, arm, prompts[index], seeds[index], result.provenance),
            )
            for arm, index in made
        ],
        update_conflicts=True,
        unique_fields=["prompt", "arm", "recipe", "seed"],
        update_fields=["state", "sha256", "height", "width", "provenance"],
    )


def provenance(recipe: Recipe, arm: Arm, prompt: Prompt, seed: int, run: dict[str, Any]) -> dict[str, Any]:
    """Everything needed to make an image again. run: ``Generated.provenance``, the call that made it."""
    from evenhand.generation.images import png_versions

    return {
        "prompt": prompt.text,
        "seed": seed,
        "guidance": arm.guidance,
        "checkpoint": recipe.checkpoint,
        "revision": recipe.revision,
        **run,
        "versions": run["versions"] | png_versions(),
    }


# ------------------------------------------------------------------------------ scoring


def plan_score(study: Study, configuration: StudyConfiguration) -> Plan:
    """Batches of 64 images."""
    return cut(_members(study, final=False), 64)


def score(context: Context) -> None:
    """CLIP score of each baseline image against its prompt (METHOD: raw cosine)."""
    from evenhand.generation.images import decode_png
    from evenhand.metrics.clip import clip_scores

    study, configuration = context.study, context.configuration
    baseline, _ = _arms(study)
    metric = f"clip:{model_cache.encoder_name(configuration)}"
    prompts = {prompt.pk: prompt for prompt in Prompt.objects.filter(pk__in=context.items)}
    images = {
        (image.prompt_id, image.seed): image
        for image in Image.objects.filter(prompt__in=prompts, arm=baseline, recipe=study.recipe, state="done")
    }
    wanted = [images[pk, seed_of(prompt, configuration)] for pk, prompt in prompts.items()]
    known = dict(ImageScore.objects.filter(metric=metric, image__in=wanted).values_list("image_id", "value"))
    fresh = [image for image in wanted if image.pk not in known]
    if fresh:
        pictures = [decode_png(image_path(image.sha256).read_bytes()) for image in fresh]
        texts = [prompts[image.prompt_id].text for image in fresh]
        values = clip_scores(pictures, texts, model_cache.clip(configuration))
        known |= {image.pk: float(value) for image, value in zip(fresh, values, strict=True)}
    with transaction.atomic():
        ImageScore.objects.bulk_create(
            [ImageScore(image=image, metric=metric, value=known[image.pk]) for image in fresh], ignore_conflicts=True
        )
        for image in wanted:
            SubsetPrompt.objects.filter(subset_id=study.subset_id, prompt_id=image.prompt_id).update(
                clip_score=known[image.pk]
            )


# ------------------------------------------------------------------------------ pairs


def plan_pairs(study: Study, configuration: StudyConfiguration) -> Plan:
    """One batch; a unit for each pair."""
    comparisons = Comparison.objects.filter(study=study).count()
    return whole(len(_members(study, final=True)) * comparisons)


def form_pairs(context: Context) -> None:
    """One pair for each comparison and final prompt, of two images with the same seed."""
    study, configuration = context.study, context.configuration
    members = SubsetPrompt.objects.filter(subset_id=study.subset_id).exclude(stratum="").select_related("prompt")
    images = {
        (image.prompt_id, image.arm_id, image.seed): image
        for image in Image.objects.filter(
            prompt__in=members.values("prompt"), recipe=study.recipe, state="done", kind=Image.Kind.GENERATED
        )
    }
    rows = [
        Pair(
            comparison=comparison,
            prompt=member.prompt,
            stratum=member.stratum,
            baseline_image=images[member.prompt_id, comparison.baseline_id, seed_of(member.prompt, configuration)],
            candidate_image=images[member.prompt_id, comparison.candidate_id, seed_of(member.prompt, configuration)],
        )
        for comparison in Comparison.objects.filter(study=study)
        for member in members.order_by("prompt__index")
    ]
    Pair.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1000)


BASELINE = StageDefinition("baseline", "Generate baseline images", "pictures", "gpu", plan_baseline, generate_baseline)
SCORE = StageDefinition("score", "Score them with CLIP", "pictures", "gpu", plan_score, score)
ARMS = StageDefinition("arms", "Generate the other arms", "pictures", "gpu", plan_arms, generate_arms)
PAIRS = StageDefinition("pairs", "Form the pairs", "pictures", "cpu", plan_pairs, form_pairs)
