"""What stages and tried settings share: a prompt set's features, the pool that is drawn from, the curve.

The libraries are imported inside the functions: the web process plans stages, but never loads torch.
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
READ = 5000  # prompts read from the database at a time


@dataclass(frozen=True)
class Pool:
    """The prompts that may be drawn, as indices, and how many repeated ones are not among them."""

    indices: NDArray[np.intp]
    removed: int

    def check(self, size: int) -> None:
        """``SubsetError`` if fewer are left than are asked for."""
        if size > len(self.indices):
            raise SubsetError(
                f"subset_size: {size} prompts are asked for; without {self.removed} repeated ones there are "
                f"{len(self.indices)}"
            )


def feature_cache(prompt_set: PromptSet, configuration: StudyConfiguration) -> FeatureCache:
    """Where the features of (prompt set, encoder) are kept."""
    key = f"{prompt_set.sha256[:16]}-{model_cache.encoder_key(configuration)}"
    return FeatureCache(model_cache.features_folder(), key, prompt_set.count)


def features_of(prompt_set: PromptSet, configuration: StudyConfiguration, progress: Progress | None = None) -> Features:
    """The features, float32 (N, d), memory-mapped; what the cache lacks is encoded, the rest is not."""

    def texts(start: int, stop: int) -> list[str]:
        rows = prompt_set.prompts.filter(index__gte=start, index__lt=stop).order_by("index")
        return list(rows.values_list("text", flat=True))

    def encode(given: Sequence[str], *, progress: Progress | None = None) -> Features:
        from evenhand.sampling.encode import encode_prompts

        return encode_prompts(given, model_cache.clip(configuration), progress=progress)

    return feature_cache(prompt_set, configuration).fill(texts, encode, progress)


def pool_of(prompt_set: PromptSet, configuration: StudyConfiguration, features: Features | None = None) -> Pool:
    """The prompts to draw from: all, or without those that repeat an earlier one."""
    from evenhand.sampling.duplicates import first_of_each, first_of_near

    if configuration.deduplicate == "none":
        return Pool(np.arange(prompt_set.count), 0)
    if configuration.deduplicate == "near":
        kept = first_of_near(
            features_of(prompt_set, configuration) if features is None else features,
            configuration.near_duplicate_cosine,
        )
    else:
        texts = prompt_set.prompts.order_by("index").values_list("text", flat=True)
        kept = first_of_each(texts.iterator(chunk_size=READ))
    return Pool(np.flatnonzero(kept), int((~kept).sum()))


def most_left(prompt_set: PromptSet, configuration: StudyConfiguration) -> int:
    """How many prompts there are to draw from at the most: with near duplicates left out it may be fewer, which only
    the features tell."""
    if configuration.deduplicate == "none":
        return prompt_set.count
    return prompt_set.prompts.values("text").distinct().count()


def curve_sizes(configuration: StudyConfiguration, count: int) -> list[int]:
    """The sizes of the curve that a pool of ``count`` allows, the chosen one among them."""
    return sorted({size for size in configuration.curve_sizes if size < count} | {configuration.subset_size})


def curve_draws(configuration: StudyConfiguration, count: int, *, both: bool = False) -> int:
    """How many subsets ``curve_of`` draws from a pool of ``count``: its units of progress."""
    families = configuration.curve_draws + GAUSSIAN_DRAWS
    if both or configuration.draw == "representative":
        families += REPRESENTATIVE_DRAWS
    return families * len(curve_sizes(configuration, count))


def curve_of(
    reference: FrechetReference,
    pool: Pool,
    configuration: StudyConfiguration,
    *,
    both: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> FrechetCurve:
    """The Fréchet curve of a configuration; with ``both`` the representative draws beside the random ones."""
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
    """The distance of the subset that the configuration draws: the first draw of its size."""
    table = curve.family(configuration.draw).distances
    return table[curve.sizes.index(configuration.subset_size)][0]
