"""Going on with smaller batches where a GPU's memory is too small for the ones asked for."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from diffusers import StableDiffusionPipeline

from evenhand.generation.trajectory import Arms, Generated, generate

logger = logging.getLogger(__name__)

# What fitted before, by picture size: without it every later call would run out of memory again first.
_fitting: WeakKeyDictionary[StableDiffusionPipeline, dict[tuple[int | None, int | None], int]] = WeakKeyDictionary()


class MemoryTooSmall(RuntimeError):
    """Not even one picture fits; the message says what was tried."""


def generate_within_memory(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    arms: Arms,
    *,
    batch_size: int = 8,
    height: int | None = None,
    width: int | None = None,
    **options: Any,
) -> Generated:
    """``generate``, with the batch size halved, and all begun again, for as long as the GPU runs out of memory.

    The shape of its calls belongs to what a picture's last bits depend on: ``provenance["rows"]`` is the shape that was
    used, and where it is not the one asked for, ``provenance["batch_size_asked"]`` says what was. Later calls with this
    pipeline and picture size begin with the size that fitted. Raises MemoryTooSmall where one picture does not fit.
    """
    arms = dict(arms)
    fitting = _fitting.setdefault(pipeline, {})
    size = min(batch_size, fitting.get((height, width), batch_size))
    while True:
        try:
            result = generate(pipeline, prompts, seeds, arms, batch_size=size, height=height, width=width, **options)
            break
        except torch.OutOfMemoryError as error:
            reason = str(error).partition("\n")[0]
        # Outside of the handler, where the failed call's tensors are free.
        if size == 1:
            raise MemoryTooSmall(f"one picture a batch does not fit into the memory of {pipeline.device}: {reason}")
        said = "out of memory on %s with %d pictures a batch, going on with %d: %s"
        logger.warning(said, pipeline.device, size, size // 2, reason)
        size //= 2
        fitting[height, width] = size
        gc.collect()
        torch.cuda.empty_cache()
    if size != batch_size:
        result.provenance["batch_size_asked"] = batch_size
    return result
