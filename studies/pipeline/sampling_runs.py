"""Compute both Fréchet curves of sampling settings that an admin tries outside a study.

The first run on a prompt set encodes it; later runs with the same encoder read the cached features.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import PromptSet, SamplingRun
from evenhand.studies.pipeline import prompt_pool
from evenhand.studies.work.notify import notify
from evenhand.studies.work.queue import Claim, Handler

QUEUE = "gpu"  # encoding needs the models


def start(
    prompt_set: PromptSet, configuration: StudyConfiguration, *, creator: AbstractBaseUser | None = None
) -> SamplingRun:
    """Create a run of these settings, and notify a worker."""
    run = SamplingRun.objects.create(
        prompt_set=prompt_set,
        configuration=configuration.to_json(),
        creator_id=creator.pk if creator else None,
        queue=QUEUE,
        total=0,
    )
    transaction.on_commit(lambda: notify(QUEUE))
    return run


def compute(claim: Claim[SamplingRun]) -> dict[str, Any]:
    """Compute a claimed run; return the values to store in its row."""
    from evenhand.metrics.frechet import FrechetReference

    prompt_set = claim.item.prompt_set
    configuration = StudyConfiguration.from_json(claim.item.configuration)
    claim.update(step="Encoding the prompts", done=0, total=prompt_set.count)
    features = prompt_pool.features_of(prompt_set, configuration, claim.progress)
    claim.update(step="Looking for repeated prompts", done=0, total=0)
    pool = prompt_pool.pool_of(prompt_set, configuration, features)
    claim.update(step="Fitting the whole set", done=0, total=0)
    pool.check(configuration.subset_size)
    reference = FrechetReference(features)
    draws = prompt_pool.curve_draws(configuration, len(pool.indices), both=True)
    claim.update(step="Drawing subsets", done=0, total=draws)
    curve = prompt_pool.curve_of(reference, pool, configuration, both=True, progress=claim.progress)
    return {"frechet_curve": curve.to_dict(), "removed": pool.removed, "step": "", "finished_at": timezone.now()}


HANDLER = Handler(compute)
