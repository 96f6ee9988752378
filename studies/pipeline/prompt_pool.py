"""Compute a prompt set's features, the pool to draw from and the curve, for stages and sampling runs.

The libraries are imported inside the functions, because the web process plans stages but never loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evenhand.sampling.draws import SubsetError
from evenhand.sampling.features import FeatureCache, Features, Progress
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import PromptSet
from evenhand.studies.pipeline import model_cache

if TYPE_CHECKING:
    from evenhand.metrics.frechet import FrechetReference
    from evenhand.sampling.subset import FrechetCurve

REPRESENTATIVE_DRAWS, GAUSSIAN_DRAWS = 2, 2  # their curves vary little from draw to draw
PROMPTS_PER_READ = 5000  # from the database


@dataclass(frozen=True)
class Pool:
    """The prompts that may be drawn, as indices, and the number of repeated ones that were removed."""

    indices: NDArray[np.intp]
    removed: int

    def check(self, size: int) -> None:
        """Raise ``SubsetError`` if the pool has fewer than ``size`` prompts."""
        if size > len(self.indices):
            raise SubsetError(
                f"subset_size: {size} prompts are asked for; without {self.removed} repeated ones there are "
                f"{len(self.indices)}"
            )


def feature_cache(prompt_set: PromptSet, configuration: StudyConfiguration) -> FeatureCache:
    """Return the cache of the features of a prompt set and an encoder."""
    key = f"{prompt_set.sha256[:16]}-{model_cache.encoder_key(configuration)}"
    return FeatureCache(model_cache.features_folder(), key, prompt_set.count)


def features_of(prompt_set: PromptSet, configuration: StudyConfiguration, progress: Progress | None = None) -> Features:
    """Return the features, float32 (N, d), memory-mapped; only prompts that the cache lacks are encoded."""

    def read(start: int, stop: int) -> list[str]:
        rows = prompt_set.prompts.filter(index__gte=start, index__lt=stop).order_by("index")
        return list(rows.values_list("text", flat=True))

    def encode(texts: Sequence[str], *, progress: Progress | None = None) -> Features:
        from evenhand.sampling.encode import encode_prompts

        return encode_prompts(texts, model_cache.clip(configuration), progress=progress)

    return feature_cache(prompt_set, configuration).fill(read, encode, progress)


def pool_of(prompt_set: PromptSet, configuration: StudyConfiguration, features: Features | None = None) -> Pool:
    """Return the prompts to draw from: all, or those that repeat no earlier one."""
    from evenhand.sampling.duplicates import first_of_each, first_of_near

    if configuration.deduplicate == "none":
        return Pool(np.arange(prompt_set.count), 0)
    if configuration.deduplicate == "near":
        mask = first_of_near(
            features_of(prompt_set, configuration) if features is None else features,
            configuration.near_duplicate_cosine,
        )
    else:
        texts = prompt_set.prompts.order_by("index").values_list("text", flat=True)
        mask = first_of_each(texts.iterator(chunk_size=PROMPTS_PER_READ))
    return Pool(np.flatnonzero(mask), int((~mask).sum()))


def largest_pool(prompt_set: PromptSet, configuration: StudyConfiguration) -> int:
    """Return how many prompts the pool has at most, without the features.

    Where near duplicates are left out it may have fewer, which only the features tell.
    """
    if configuration.deduplicate == "none":
        return prompt_set.count
    return prompt_set.prompts.values("text").distinct().count()


def curve_sizes(configuration: StudyConfiguration, count: int) -> list[int]:
    """Return the sizes of the curve that a pool of ``count`` prompts allows, with the configuration's subset size."""
    return sorted({size for size in configuration.curve_sizes if size < count} | {configuration.subset_size})


def curve_draws(configuration: StudyConfiguration, count: int, *, both: bool = False) -> int:
    """Return how many subsets ``curve_of`` draws from a pool of ``count`` prompts: its units of progress."""
    draws = configuration.curve_draws + GAUSSIAN_DRAWS
    if both or configuration.draw == "representative":
        draws += REPRESENTATIVE_DRAWS
    return draws * len(curve_sizes(configuration, count))


def curve_of(
    reference: FrechetReference,
    pool: Pool,
    configuration: StudyConfiguration,
    *,
    both: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> FrechetCurve:
    """Compute a configuration's Fréchet curve; ``both``: with representative draws beside the random ones."""
    from evenhand.sampling.subset import frechet_curve

    pool.check(configuration.subset_size)
    return frechet_curve(
        reference,
        curve_sizes(configuration, len(pool.indices)),
        configuration.curve_draws,
        configuration.seed,
        progress,
        pool=pool.indices,
        representative_draws=REPRESENTATIVE_DRAWS if both or configuration.draw == "representative" else 0,
        gaussian_draws=GAUSSIAN_DRAWS,
    )


def distance_of(curve: FrechetCurve, configuration: StudyConfiguration) -> float:
    """Return the distance of the subset that the configuration draws: the first draw of its size."""
    table = curve.family(configuration.draw).distances
    return table[curve.sizes.index(configuration.subset_size)][0]
