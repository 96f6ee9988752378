"""Generate pictures in smaller batches where the GPU's memory is too small for the requested size."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch

from evenhand.generation.kinds.registry import Pipeline
from evenhand.generation.trajectory import Arms, Generated, generate

logger = logging.getLogger(__name__)

# The batch size that fitted, by picture size. Without it, every later call would first run out of memory again.
_batch_sizes: WeakKeyDictionary[Pipeline, dict[tuple[int | None, int | None], int]] = WeakKeyDictionary()


class MemoryTooSmall(RuntimeError):
    """Not even one picture fits; the message names the device and torch's reason."""


def generate_within_memory(
    pipeline: Pipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    arms: Arms,
    *,
    batch_size: int = 8,
    height: int | None = None,
    width: int | None = None,
    **options: Any,
) -> Generated:
    """Call ``generate``; whenever the GPU runs out of memory, halve the batch size and start again.

    A picture's last bits depend on the shape of the network calls: ``provenance["rows"]`` is the shape that was used,
    and ``provenance["batch_size_asked"]`` is the requested batch size where it was not used. Later calls with this
    pipeline and picture size begin with the size that fitted. Raises MemoryTooSmall where one picture does not fit.
    """
    arms = dict(arms)
    batch_sizes = _batch_sizes.setdefault(pipeline, {})
    size = min(batch_size, batch_sizes.get((height, width), batch_size))
    while True:
        try:
            result = generate(pipeline, prompts, seeds, arms, batch_size=size, height=height, width=width, **options)
            break
        except torch.OutOfMemoryError as error:
            reason = str(error).partition("\n")[0]
        # Outside of the handler, because inside it the error still holds the failed call's tensors.
        if size == 1:
            raise MemoryTooSmall(f"one picture a batch does not fit into the memory of {pipeline.device}: {reason}")
        message = "out of memory on %s with %d pictures a batch, going on with %d: %s"
        logger.warning(message, pipeline.device, size, size // 2, reason)
        size //= 2
        batch_sizes[height, width] = size
        gc.collect()
        torch.cuda.empty_cache()
    if size != batch_size:
        result.provenance["batch_size_asked"] = batch_size
    return result
