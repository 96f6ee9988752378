"""Run the stages that choose prompts (paper §5.3): check, encode, curve, first subset, strata.

The libraries are imported inside the functions, because the web process plans stages but never loads torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from django.db import transaction

from evenhand.errors import InputError
from evenhand.generation.guidance import OtherCheckpoint, fingerprint
from evenhand.generation.vocabulary import FILE, described, known_words, unknown_words
from evenhand.studies import audit
from evenhand.studies.arm_recipes import RecipePart, arms_by_part, part_of
from evenhand.studies.configuration import StudyConfiguration, arm_label
from evenhand.studies.models import Arm, ArmRecipe, Comparison, Pair, PromptSubset, Recipe, Study, SubsetPrompt
from evenhand.studies.pipeline import model_cache, prompt_pool, reading
from evenhand.studies.pipeline.brought import check_brought
from evenhand.studies.pipeline.context import Context, Plan, StageDefinition, whole

# ------------------------------------------------------------------------------ prompts: check what the study needs


def _plan_one(_study: Study, _configuration: StudyConfiguration) -> Plan:
    return whole()


def _plan_prompts(study: Study, _configuration: StudyConfiguration) -> Plan:
    return whole(study.prompt_set.count)


def _plan_curve(study: Study, configuration: StudyConfiguration) -> Plan:
    return whole(prompt_pool.curve_draws(configuration, study.prompt_set.count))


def check_prompts(context: Context) -> None:
    """Verify the prompt set against its hash, load the checkpoint, and freeze recipe, arms and comparisons."""
    from evenhand.sampling.prompts import prompts_sha256

    study, configuration = context.study, context.configuration
    texts = study.prompt_set.prompts.order_by("index").values_list("text", flat=True)
    if prompts_sha256(texts.iterator(chunk_size=prompt_pool.PROMPTS_PER_READ)) != study.prompt_set.sha256:
        raise InputError(f"the prompts of “{study.prompt_set}” do not match their hash; import the file again")
    _note_unknown_words(context)
    own, *others = arms_by_part(configuration)
    size = reading.size_of(own, configuration)
    recipes = {part: _recipe(part, size, study, configuration) for part in others}
    recipes[own] = _recipe(own, size, study, configuration)  # the last one, so that its model stays loaded
    _store_arms(context, recipes)


def _recipe(part: RecipePart, size: tuple[int, int], study: Study, configuration: StudyConfiguration) -> Recipe:
    """Load a checkpoint, refuse prompts that it cannot read and a size that it cannot draw, and return its recipe."""
    loaded = reading.load_for(part, size, study.prompt_set, configuration)
    recipe, _ = Recipe.objects.get_or_create(
        checkpoint=part.checkpoint,
        revision=loaded.revision,
        scheduler=part.scheduler,
        steps=part.steps,
        height=size[0],
        width=size[1],
        dtype=part.dtype,
        batch_size=configuration.batch_size,
    )
    return recipe


def _store_arms(context: Context, recipes: Mapping[RecipePart, Recipe]) -> None:
    """Write the study's recipe, its arms with their recipes where these are others, and its comparisons."""
    study, configuration = context.study, context.configuration
    arms = []
    for guidance in configuration.arms:
        values = {"label": arm_label(guidance), "guidance": guidance.to_dict()}
        arms.append(Arm.objects.get_or_create(fingerprint=fingerprint(guidance), defaults=values)[0])
    own = recipes[part_of(configuration, configuration.baseline)]
    with transaction.atomic():
        context.confirm()  # the checkpoints took minutes to load: by now the study may be a draft with another plan
        if not Pair.objects.filter(comparison__study=study).exists():  # what may be left of another plan
            Comparison.objects.filter(study=study).delete()
            ArmRecipe.objects.filter(study=study).delete()
        Study.objects.filter(pk=study.pk).update(recipe=own)
        for arm, guidance in zip(arms, configuration.arms, strict=True):
            if isinstance(guidance, OtherCheckpoint):
                recipe = recipes[part_of(configuration, guidance)]
                ArmRecipe.objects.update_or_create(study=study, arm=arm, defaults={"recipe": recipe})
        for position, (first, second) in enumerate(configuration.compared):
            Comparison.objects.update_or_create(
                study=study, position=position, defaults={"baseline": arms[first], "candidate": arms[second]}
            )


def _note_unknown_words(context: Context) -> None:
    """Record which words of the prompts a checkpoint does not know, where it lists the words that it knows."""
    study = context.study
    folder = Path(model_cache.checkpoint_location(context.configuration.checkpoint)) / "tokenizer"
    vocabulary = known_words(folder)
    if vocabulary is None:
        return
    texts = study.prompt_set.prompts.order_by("index").values_list("text", flat=True)
    words = unknown_words(texts.iterator(chunk_size=prompt_pool.PROMPTS_PER_READ), vocabulary)
    if words:
        listed, told = str(Path(folder.name) / FILE), described(words)
        with transaction.atomic():
            context.confirm()
            audit.record(study, "unknown_words", words=told, different=len(words), list=listed)


# ------------------------------------------------------------------------------ encode: CLIP text features


def encode(context: Context) -> None:
    """Encode the prompts of the set that the feature cache lacks."""
    prompt_pool.features_of(context.study.prompt_set, context.configuration, context.progress)


# ------------------------------------------------------------------------------ curve and first subset


def curve(context: Context) -> None:
    """Compute the Fréchet distance of subsets to the whole set, over sizes and draws (Fig. 10)."""
    from evenhand.metrics.frechet import FrechetReference

    study, configuration = context.study, context.configuration
    features = prompt_pool.features_of(study.prompt_set, configuration)
    pool = prompt_pool.pool_of(study.prompt_set, configuration, features)
    result = prompt_pool.curve_of(FrechetReference(features), pool, configuration, progress=context.progress)
    values = {
        "frechet_curve": result.to_dict(),
        "distance": prompt_pool.distance_of(result, configuration),
        "prompt_set": study.prompt_set,
        "encoder": configuration.encoder_name,
        "size": configuration.subset_size,
        "seed": configuration.seed,
        "percentiles": list(configuration.percentiles),
        "per_stratum": configuration.per_stratum,
        "draw": configuration.draw,
        "deduplicate": configuration.deduplicate,
        "near_duplicate_cosine": configuration.near_duplicate_cosine if configuration.deduplicate == "near" else None,
        "removed": pool.removed,
    }
    with transaction.atomic():
        context.confirm()
        if study.subset_id:
            PromptSubset.objects.filter(pk=study.subset_id).update(**values)
        else:
            Study.objects.filter(pk=study.pk).update(subset=PromptSubset.objects.create(**values))


def subset(context: Context) -> None:
    """Draw and store the first subset's prompts; an existing subset is never drawn again."""
    study = context.study
    assert study.subset is not None  # the curve stage made it
    if study.subset.members.exists():  # all of them: they are written in one transaction
        return
    indices, distance = _draw_indices(context)
    with transaction.atomic():
        context.confirm()
        for start in range(0, len(indices), prompt_pool.PROMPTS_PER_READ):
            part = [int(index) for index in indices[start : start + prompt_pool.PROMPTS_PER_READ]]
            pks = study.prompt_set.prompts.filter(index__in=part).order_by("index").values_list("pk", flat=True)
            members = [SubsetPrompt(subset=study.subset, prompt_id=pk) for pk in pks]
            SubsetPrompt.objects.bulk_create(members, ignore_conflicts=True, batch_size=2000)
        if distance is not None:
            PromptSubset.objects.filter(pk=study.subset.pk).update(distance=distance)


def _draw_indices(context: Context) -> tuple[np.ndarray, float | None]:
    """Draw the members' indices.

    Returns their distance too where a swap search drew them, because rounding on another machine than the curve's may
    give another subset.
    """
    from evenhand.metrics.frechet import FrechetReference
    from evenhand.sampling.subset import draw_subset, random_subset

    study, configuration = context.study, context.configuration
    size, seed = configuration.subset_size, configuration.seed
    if configuration.draw == "random":
        pool = prompt_pool.pool_of(study.prompt_set, configuration)
        return pool.indices[random_subset(len(pool.indices), size, seed)], None
    features = prompt_pool.features_of(study.prompt_set, configuration)
    pool = prompt_pool.pool_of(study.prompt_set, configuration, features)
    reference = FrechetReference(features)
    indices = draw_subset(configuration.draw, reference, size, seed, pool=pool.indices, progress=context.progress)
    return indices, reference.distance(indices)


# ------------------------------------------------------------------------------ strata: the final subset


def strata(context: Context) -> None:
    """Mark the prompts around each percentile of the CLIP scores."""
    from evenhand.sampling.percentiles import percentile_strata

    study, configuration = context.study, context.configuration
    members = SubsetPrompt.objects.filter(subset_id=study.subset_id)
    rows = list(members.order_by("prompt__index").values_list("pk", "clip_score"))
    scores = np.array([np.nan if each is None else each for _, each in rows], dtype=np.float64)
    indices_of = percentile_strata(scores, configuration.percentiles, configuration.per_stratum)
    names = configuration.strata
    texts: Counter[str] = Counter()
    with transaction.atomic():
        context.confirm()
        members.exclude(stratum="").update(stratum="")
        for percentile, indices in indices_of.items():
            stratum = members.filter(pk__in=[rows[int(i)][0] for i in indices])
            texts.update(stratum.values_list("prompt__text", flat=True))
            stratum.update(stratum=names[percentile])
        duplicates = {text: count for text, count in texts.items() if count > 1}
        audit.record(study, "strata", prompts=texts.total(), identical_prompts=duplicates)
    check_brought(study, configuration)  # after the marks are stored: the subset's prompts can be listed


PROMPTS = StageDefinition("prompts", "Check prompts and checkpoint", "prompts", "gpu", _plan_one, check_prompts)
ENCODE = StageDefinition("encode", "Encode the prompts with CLIP", "prompts", "gpu", _plan_prompts, encode)
CURVE = StageDefinition("curve", "Fréchet curve", "prompts", "cpu", _plan_curve, curve)
SUBSET = StageDefinition("subset", "Draw the first subset", "prompts", "cpu", _plan_one, subset)
STRATA = StageDefinition("strata", "Choose the final subset", "pictures", "cpu", _plan_one, strata)
