"""CLIP text features of prompts (method §4.2).

A causal tower that pools at the end-of-text token gives the same pooled vector when a batch is cut to its longest
prompt, so prompts are sorted by length and encoded in short batches. Other towers are run at full length.
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
    future = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return bool(torch.isneginf(mask[future]).all() and (mask[~future] == 0).all())


def lengths(encoder: ClipModel, ids: torch.Tensor) -> torch.Tensor:
    """Tokens of each prompt up to the one that is pooled, int64 (N,)."""
    if encoder.model.text_pool_type == "eos":
        return (ids == encoder.model.text_eos_id).int().argmax(dim=1) + 1
    return ids.argmax(dim=1) + 1


def _encode_cut(model: open_clip.CLIP, ids: torch.Tensor) -> torch.Tensor:
    """``encode_text`` for ids (B, n ≤ context): the positional embedding and the mask are cut to n."""
    n = ids.shape[1]
    dtype = model.transformer.get_cast_dtype()
    x = model.token_embedding(ids).to(dtype) + model.positional_embedding[:n].to(dtype)
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:n, :n]))
    pooled = ids.argmax(dim=1) if model.text_pool_type == "argmax" else (ids == model.text_eos_id).int().argmax(dim=1)
    x = x[torch.arange(len(x), device=x.device), pooled]
    projection = model.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, torch.nn.Linear) else x @ projection


def _batches(size: torch.Tensor) -> Iterator[torch.Tensor]:
    """Indices of one call each, shortest prompts first: rows × longest prompt is at most TOKENS_PER_BATCH."""
    order = torch.argsort(size, stable=True)
    while len(order):
        ahead = size[order[:TOKENS_PER_BATCH]]
        fitting = int((ahead * torch.arange(1, len(ahead) + 1) <= TOKENS_PER_BATCH).sum())  # ascending, so a prefix
        rows = max(1, fitting)
        yield order[:rows]
        order = order[rows:]


def encode_prompts(
    texts: Sequence[str],
    model: ClipModel,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Unnormalised text features, float32 (N, d), in the order of ``texts``; ``progress(done, total)`` is called."""
    if not texts:
        raise InputError("no prompts to encode")
    features: NDArray[np.float32] | None = None
    for start in range(0, len(texts), CHUNK):
        done = start
        for places, part in _encoded(texts[start : start + CHUNK], model):
            if features is None:
                features = np.empty((len(texts), part.shape[1]), np.float32)
            features[start + places] = part
            done += len(places)
            if progress is not None:
                progress(done, len(texts))
    assert features is not None
    return features


@torch.inference_mode()
def _encoded(texts: Sequence[str], model: ClipModel) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The features of one chunk, batch by batch, with their places in it."""
    ids = torch.cat([tokenize(model, texts[i : i + 2048]) for i in range(0, len(texts), 2048)])
    cut = can_be_cut(model.model)
    size = lengths(model, ids) if cut else torch.full((len(ids),), ids.shape[1])
    for chosen in _batches(size):
        part = ids[chosen, : int(size[chosen].max())].to(model.device)
        encoded = _encode_cut(model.model, part) if cut else model.model.encode_text(part)
        yield chosen.numpy(), encoded.float().cpu().numpy()
