"""The stages that choose prompts (paper §5.3): check, encode, Fréchet curve, first subset, strata.

The libraries are imported inside the functions: the web process plans stages, but never loads torch.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from django.db import transaction

from generation.guidance import fingerprint
from studies import audit
from studies.configuration import StudyConfiguration, arm_label
from studies.models import Arm, Comparison, PromptSubset, Recipe, Study, SubsetPrompt
from studies.pipeline import loaded
from studies.pipeline.context import Context, Plan, whole

# ------------------------------------------------------------------------------ prompts: is everything there?


def _plan_one(study: Study, configuration: StudyConfiguration) -> Plan:
    return whole()


def _plan_prompts(study: Study, configuration: StudyConfiguration) -> Plan:
    return whole(study.prompt_set.count)


def check_prompts(context: Context) -> None:
    """Verify the prompt set against its hash, load the checkpoint, and freeze recipe, arms and comparisons."""
    from sampling.prompts import prompts_sha256

    study, configuration = context.study, context.configuration
    texts = list(study.prompt_set.prompts.order_by("index").values_list("text", flat=True))
    if prompts_sha256(texts) != study.prompt_set.sha256:
        raise ValueError(f"the prompts of “{study.prompt_set}” do not match their hash; import the file again")
    height, width = loaded.picture_size(configuration)
    recipe, _ = Recipe.objects.get_or_create(
        checkpoint=configuration.checkpoint,
        revision=loaded.checkpoint_revision(configuration.checkpoint),
        scheduler=configuration.scheduler,
        steps=configuration.steps,
        height=height,
        width=width,
        dtype=configuration.dtype,
        batch_size=configuration.batch_size,
    )
    arms = []
    for guidance in (configuration.baseline, *configuration.candidates):
        values = {"label": arm_label(guidance), "guidance": guidance.to_dict()}
        arms.append(Arm.objects.get_or_create(fingerprint=fingerprint(guidance), defaults=values)[0])
    with transaction.atomic():
        Study.objects.filter(pk=study.pk).update(recipe=recipe)
        for position, candidate in enumerate(arms[1:]):
            Comparison.objects.update_or_create(
                study=study, position=position, defaults={"baseline": arms[0], "candidate": candidate}
            )


# ------------------------------------------------------------------------------ encode: CLIP text features


def features_path(study: Study, configuration: StudyConfiguration) -> Path:
    """Where the features of (prompt set, encoder) are cached."""
    return loaded.features_folder() / f"{study.prompt_set.sha256[:16]}-{loaded.encoder_key(configuration)}.npy"


def encode(context: Context) -> None:
    """Encode every prompt of the set, unless the cache holds the features already."""
    from sampling.encode import encode_prompts

    path = features_path(context.study, context.configuration)
    if path.exists():
        return
    texts = list(context.study.prompt_set.prompts.order_by("index").values_list("text", flat=True))
    encoder = loaded.text_encoder(context.configuration)
    loaded.save_array(path, encode_prompts(texts, encoder, progress=context.progress))


def load_features(context: Context) -> np.ndarray:
    """The cached features, float32 (N, d); encoded again if the cache was cleared in between."""
    path = features_path(context.study, context.configuration)
    if not path.exists():
        encode(context)
    features: np.ndarray = np.load(path, mmap_mode="r")
    return features


# ------------------------------------------------------------------------------ curve and first subset


def curve(context: Context) -> None:
    """Fréchet distance of random subsets to the whole set, over sizes and draws (Fig. 10)."""
    from metrics.frechet import FrechetReference
    from sampling.subset import frechet_curve, random_subset

    study, configuration = context.study, context.configuration
    reference = FrechetReference(load_features(context))
    count = study.prompt_set.count
    sizes = sorted({size for size in configuration.curve_sizes if size < count} | {configuration.subset_size})
    result = frechet_curve(reference, sizes, configuration.curve_draws, configuration.seed, progress=context.progress)
    chosen = random_subset(count, configuration.subset_size, configuration.seed)
    values = {
        "frechet_curve": result.to_dict(),
        "distance": float(reference.distance(chosen)),
        "prompt_set": study.prompt_set,
        "encoder": loaded.encoder_name(configuration),
        "size": configuration.subset_size,
        "seed": configuration.seed,
        "percentiles": list(configuration.percentiles),
        "per_stratum": configuration.per_stratum,
    }
    with transaction.atomic():
        if study.subset_id:
            PromptSubset.objects.filter(pk=study.subset_id).update(**values)
        else:
            Study.objects.filter(pk=study.pk).update(subset=PromptSubset.objects.create(**values))


def subset(context: Context) -> None:
    """Write down the first subset's prompts."""
    from sampling.subset import random_subset

    study, configuration = context.study, context.configuration
    chosen = random_subset(study.prompt_set.count, configuration.subset_size, configuration.seed)
    pk_of = dict(study.prompt_set.prompts.values_list("index", "pk"))
    assert study.subset is not None  # the curve stage made it
    members = [SubsetPrompt(subset=study.subset, prompt_id=pk_of[int(index)]) for index in chosen]
    SubsetPrompt.objects.bulk_create(members, ignore_conflicts=True, batch_size=2000)


# ------------------------------------------------------------------------------ strata: the final subset


def strata(context: Context) -> None:
    """Mark the prompts around each percentile of the CLIP scores."""
    from sampling.percentiles import percentile_strata

    study, configuration = context.study, context.configuration
    members = list(
        SubsetPrompt.objects.filter(subset_id=study.subset_id).order_by("prompt__index").select_related("prompt")
    )
    scores = np.array([np.nan if m.clip_score is None else m.clip_score for m in members], dtype=np.float64)
    chosen = percentile_strata(scores, configuration.percentiles, configuration.per_stratum)
    names = configuration.strata
    texts: Counter[str] = Counter()
    with transaction.atomic():
        SubsetPrompt.objects.filter(subset_id=study.subset_id).exclude(stratum="").update(stratum="")
        for percentile, indices in chosen.items():
            picked = [members[int(i)] for i in indices]
            texts.update(member.prompt.text for member in picked)
            SubsetPrompt.objects.filter(pk__in=[m.pk for m in picked]).update(stratum=names[percentile])
        repeated = {text: count for text, count in texts.items() if count > 1}
        audit.record(study, "strata", prompts=texts.total(), identical_prompts=repeated)


PROMPTS = (_plan_one, check_prompts)
ENCODE = (_plan_prompts, encode)
CURVE = (_plan_one, curve)
SUBSET = (_plan_one, subset)
STRATA = (_plan_one, strata)
