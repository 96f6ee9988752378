"""Check what ``generate`` is called with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evenhand.errors import InputError
from evenhand.generation.kinds.registry import Pipeline
from evenhand.generation.noise import SEED_LIMIT


def checked_texts(prompts: Sequence[str]) -> Sequence[str]:
    """Return the prompts. Raises InputError for one text in the place of a list, or an empty list."""
    if isinstance(prompts, str):
        raise InputError(f"prompts must be a list of texts, not the one text {prompts!r}")
    if not len(prompts):
        raise InputError("prompts must hold at least one text, and the list is empty")
    return prompts


def checked_seeds(seeds: Sequence[int]) -> list[int]:
    """Return the seeds as Python's numbers. Raises InputError, naming one that is no whole number in 0 … 2**63 − 1."""
    for index, seed in enumerate(seeds):
        whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
        if not whole or not 0 <= int(seed) < SEED_LIMIT:
            raise InputError(f"seed {index} must be a whole number from 0 to 2**63 − 1, not {seed!r}")
    return [int(seed) for seed in seeds]


def picture_size(pipeline: Pipeline, height: int | None, width: int | None) -> tuple[int, int]:
    """Return height and width in pixels, the checkpoint's own where None.

    Raises ValueError for a size that is no positive multiple of the pipeline's ``vae_scale_factor``.
    """
    factor = pipeline.vae_scale_factor
    sample = pipeline.unet.config.sample_size
    rows, columns = (sample, sample) if isinstance(sample, int) else sample
    return _side("height", height, rows * factor, factor), _side("width", width, columns * factor, factor)


def _side(name: str, value: int | None, default: int, factor: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or value % factor:
        raise InputError(f"{name} must be a positive multiple of {factor} pixels, not {value!r}")
    return value


def checked_batch_size(value: int) -> int:
    """Return the batch size. Raises InputError where it is no whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"batch_size must be a whole number of at least 1, not {value!r}")
    return value


def checked_iterations(values: Sequence[int], steps: int) -> list[int]:
    """Return numbers of iterations. Raises InputError, naming one that does not lie in 0 … ``steps``."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= steps:
            raise InputError(f"intermediates must be numbers of iterations in 0…{steps}, not {value!r}")
    return list(values)
