"""Changed self-attention written out slowly: one head and one patch at a time, the blur by reflection and sums."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import Attention, AttnProcessor2_0


class SlowSelfAttention:
    """Self-attention of one picture; sigma None: identity attention, infinite: all queries are their mean."""

    def __init__(self, sigma: float | None) -> None:
        self.sigma = sigma

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        query, key, value = (
            projection(hidden_states)[0].numpy().reshape(hidden_states.shape[1], attn.heads, -1)
            for projection in (attn.to_q, attn.to_k, attn.to_v)
        )
        patches, heads, width = query.shape
        if self.sigma is not None:
            side = math.isqrt(patches)
            query = blurred(query.reshape(side, side, -1), self.sigma).reshape(patches, heads, width)
        output = np.zeros_like(query)
        for patch in range(patches):
            for head in range(heads):
                logits = key[:, head] @ query[patch, head] / width**0.5
                weights = np.exp(logits - logits.max())
                weights /= weights.sum()
                if self.sigma is None:
                    weights = np.eye(patches)[patch]
                output[patch, head] = weights @ value[:, head]
        return attn.to_out[0](torch.from_numpy(output.reshape(1, patches, -1)))


def blurred(grid: np.ndarray, sigma: float) -> np.ndarray:
    """A grid (side, side, channels) under Hong's two-dimensional kernel."""
    side = len(grid)
    if math.isinf(sigma):
        return np.broadcast_to(grid.mean(axis=(0, 1)), grid.shape)
    size = math.ceil(6 * sigma) + 1 - math.ceil(6 * sigma) % 2
    size = min(size, side - (side % 2 - 1))
    half = (size - 1) // 2
    line = np.exp(-0.5 * (np.linspace(-half, half, size) / sigma) ** 2)
    kernel = np.outer(line / line.sum(), line / line.sum())
    padded = np.pad(grid, ((half, half), (half, half), (0, 0)), mode="reflect")
    result = np.zeros_like(grid)
    for row in range(side):
        for column in range(side):
            window = padded[row : row + size, column : column + size]
            result[row, column] = (kernel[:, :, None] * window).sum(axis=(0, 1))
    return result


@contextmanager
def slow_self_attention(pipeline: StableDiffusionPipeline, block: str, sigma: float | None) -> Iterator[None]:
    """Within this context the block's self-attention is the slow one."""
    before = dict(pipeline.unet.attn_processors)
    slow = SlowSelfAttention(sigma)
    pipeline.unet.set_attn_processor(
        {name: slow if "attn1" in name and name.startswith(block) else AttnProcessor2_0() for name in before}
    )
    try:
        yield
    finally:
        pipeline.unet.set_attn_processor(before)
