"""Compute CLIP text features of prompts (method §4.2).

A causal tower that pools at the end-of-text token gives the same pooled vector when a batch is cut to its longest
prompt. Prompts are therefore sorted by length and encoded in short batches. Other towers run at full length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray

from evenhand.errors import InputError
from evenhand.metrics.clip import ClipModel, tokenize
from evenhand.sampling.features import CHUNK

TOKENS_PER_BATCH = 256 * 16  # rows × longest prompt of one call


def can_be_cut(model: object) -> bool:
    """Whether the tower is open_clip's own, causal, and pools at the end-of-text token."""
    if not isinstance(model, open_clip.CLIP) or model.text_pool_type not in {"argmax", "eos"}:
        return False
    mask = model.attn_mask
    if mask is None:
        return False
    future_positions = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return bool(torch.isneginf(mask[future_positions]).all() and (mask[~future_positions] == 0).all())


def lengths(encoder: ClipModel, ids: torch.Tensor) -> torch.Tensor:
    """Count the tokens of each prompt up to the one that is pooled, int64 (N,)."""
    if encoder.model.text_pool_type == "eos":
        return (ids == encoder.model.text_eos_id).int().argmax(dim=1) + 1
    return ids.argmax(dim=1) + 1


def _encode_cut(model: open_clip.CLIP, ids: torch.Tensor) -> torch.Tensor:
    """``encode_text`` for ids (B, n ≤ context): the positional embedding and the mask are cut to n."""
    n = ids.shape[1]
    dtype = model.transformer.get_cast_dtype()
    x = model.token_embedding(ids).to(dtype) + model.positional_embedding[:n].to(dtype)
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:n, :n]))
    pooled_positions = (
        ids.argmax(dim=1) if model.text_pool_type == "argmax" else (ids == model.text_eos_id).int().argmax(dim=1)
    )
    x = x[torch.arange(len(x), device=x.device), pooled_positions]
    projection = model.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, torch.nn.Linear) else x @ projection


def _batches(token_counts: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the indices of each batch, shortest prompts first; rows × longest prompt is at most TOKENS_PER_BATCH."""
    order = torch.argsort(token_counts, stable=True)
    while len(order):
        next_counts = token_counts[order[:TOKENS_PER_BATCH]]
        fitting_rows = int(
            (next_counts * torch.arange(1, len(next_counts) + 1) <= TOKENS_PER_BATCH).sum()
        )  # counts ascend, so these are the first rows
        rows = max(1, fitting_rows)
        yield order[:rows]
        order = order[rows:]


def encode_prompts(
    texts: Sequence[str],
    model: ClipModel,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Compute unnormalised text features, float32 (N, d), in the order of ``texts``; ``progress`` gets done, total."""
    if not texts:
        raise InputError("no prompts to encode")
    features: NDArray[np.float32] | None = None
    for start in range(0, len(texts), CHUNK):
        prompt_count = start
        for positions, part in _encode_chunk(texts[start : start + CHUNK], model):
            if features is None:
                features = np.empty((len(texts), part.shape[1]), np.float32)
            features[start + positions] = part
            prompt_count += len(positions)
            if progress is not None:
                progress(prompt_count, len(texts))
    assert features is not None
    return features


@torch.inference_mode()
def _encode_chunk(texts: Sequence[str], model: ClipModel) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield the features of one chunk batch by batch, each with its positions in the chunk."""
    ids = torch.cat([tokenize(model, texts[i : i + 2048]) for i in range(0, len(texts), 2048)])
    cuttable = can_be_cut(model.model)
    token_counts = lengths(model, ids) if cuttable else torch.full((len(ids),), ids.shape[1])
    for batch_indices in _batches(token_counts):
        batch_ids = ids[batch_indices, : int(token_counts[batch_indices].max())].to(model.device)
        features = _encode_cut(model.model, batch_ids) if cuttable else model.model.encode_text(batch_ids)
        yield batch_indices.numpy(), features.float().cpu().numpy()
