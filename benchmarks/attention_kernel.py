"""Correct perturbed rows on a GPU in one pass, without writing attention weights to memory (paper eq. 9 and 10).

Stock attention leaves no weights behind. Written out in float32, those of one large module take 161 MB at batches of 8
(Stable Diffusion 1.5), and reading them again costs more than the attention itself. Here each program holds a block of
patches, computes their weights twice, once to find the semantic token and once to subtract its share, and keeps
nothing. Workers do not use it yet: it has run by itself on a GPU, but not inside a compiled network.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch.library import triton_op, wrap_triton

PATCHES, WARPS = 64, 8  # of one program
CHUNK = 64  # channels of a head that are multiplied at once


@triton.jit
def _weights(
    query,
    key,
    scale,
    patch,
    patches,
    query_step,
    tokens,
    key_step,
    channels,
    BLOCK: tl.constexpr,
    TOKENS: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """softmax(QKᵀ·scale) of one head in float32, (patches of the program, padded tokens)."""
    token = tl.arange(0, TOKENS)
    scores = tl.zeros((BLOCK, TOKENS), dtype=tl.float32)
    for chunk in tl.static_range(CHUNKS):
        channel = chunk * 64 + tl.arange(0, 64)
        q_inside = (patch[:, None] < patches) & (channel[None, :] < channels)
        q = tl.load(query + patch[:, None] * query_step + channel[None, :], mask=q_inside, other=0.0)
        k_inside = (token[None, :] < tokens) & (channel[:, None] < channels)
        k = tl.load(key + token[None, :] * key_step + channel[:, None], mask=k_inside, other=0.0)
        scores += tl.dot(q, k, input_precision="ieee")
    scores = tl.where(token[None, :] < tokens, scores * scale, float("-inf"))
    exponentials = tl.exp(scores - tl.max(scores, 1)[:, None])
    return exponentials / tl.sum(exponentials, 1)[:, None]


@triton.jit
def _correct(
    outputs,
    query,
    key,
    value,
    rows,
    coefficients,
    barred,
    per_head,
    patches,
    tokens,
    channels,
    scale,
    output_row,
    output_head,
    output_patch,
    query_row,
    query_head,
    query_patch,
    key_row,
    key_head,
    key_token,
    value_row,
    value_head,
    value_token,
    HEADS: tl.constexpr,
    BLOCK: tl.constexpr,
    TOKENS: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """Correct one block of patches of one row. Names like query_row are strides in elements."""
    change = tl.program_id(1)
    coefficient = tl.load(coefficients + change)
    if coefficient == 0.0:  # a plain row of a dense perturbation keeps stock attention's result
        return
    row = tl.load(rows + change)
    patch = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    token = tl.arange(0, TOKENS)
    allowed = tl.load(barred + change * tokens + token, mask=token < tokens, other=1) == 0
    each_head = tl.load(per_head + change) != 0
    q, k, v = query + row * query_row, key + row * key_row, value + row * value_row

    total = tl.zeros((BLOCK, TOKENS), dtype=tl.float32)
    for head in range(HEADS):
        q_head, k_head = q + head * query_head, k + head * key_head
        total += _weights(
            q_head, k_head, scale, patch, patches, query_patch, tokens, key_token, channels, BLOCK, TOKENS, CHUNKS
        )
    of_mean = tl.argmax(tl.where(allowed[None, :], total, -1.0), 1)

    for head in range(HEADS):
        q_head, k_head = q + head * query_head, k + head * key_head
        weights = _weights(
            q_head, k_head, scale, patch, patches, query_patch, tokens, key_token, channels, BLOCK, TOKENS, CHUNKS
        )
        of_head = tl.argmax(tl.where(allowed[None, :], weights, -1.0), 1)
        semantic = tl.where(each_head, of_head, of_mean)
        share = coefficient * tl.sum(tl.where(token[None, :] == semantic[:, None], weights, 0.0), 1)
        for chunk in tl.static_range(CHUNKS):
            channel = chunk * 64 + tl.arange(0, 64)
            inside = (patch[:, None] < patches) & (channel[None, :] < channels)
            values = tl.load(
                v + head * value_head + semantic[:, None] * value_token + channel[None, :], mask=inside, other=0.0
            )
            place = outputs + row * output_row + head * output_head + patch[:, None] * output_patch + channel[None, :]
            stock = tl.load(place, mask=inside, other=0.0)
            corrected = stock.to(tl.float32) - share[:, None] * values.to(tl.float32)
            tl.store(place, corrected.to(stock.dtype), mask=inside)


@triton_op("evenhand::subtract_semantic_token", mutates_args={"outputs"})
def subtract_semantic_token(
    outputs: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    rows: torch.Tensor,
    coefficients: torch.Tensor,
    barred: torch.Tensor,
    per_head: torch.Tensor,
) -> None:
    """Subtract (1+a)·A[p,s]·V[s] from the outputs of attention in place, on the perturbed rows alone.

    outputs, query: (B, heads, patches, d). key, value: (B, heads, tokens, d). All may be strided, but not along d.
    rows: (n,) int64, positions in the batch. coefficients: (n,) float32, 1 + a. barred: (n, tokens) uint8, 1 where a
    token may not be the semantic one. per_head: (n,) uint8, 1 where each head has a token of its own.
    """
    _, heads, patches, channels = query.shape
    grid = (triton.cdiv(patches, PATCHES), rows.shape[0])
    kernel = wrap_triton(_correct) if isinstance(_correct, triton.JITFunction) else _correct  # else: interpreted
    kernel[grid](
        outputs,
        query,
        key,
        value,
        rows,
        coefficients,
        barred,
        per_head,
        patches,
        key.shape[2],
        channels,
        channels**-0.5,
        *outputs.stride()[:3],
        *query.stride()[:3],
        *key.stride()[:3],
        *value.stride()[:3],
        HEADS=heads,
        BLOCK=PATCHES,
        TOKENS=max(16, triton.next_power_of_2(key.shape[2])),
        CHUNKS=triton.cdiv(channels, CHUNK),
        num_warps=WARPS,
        num_stages=2 if query.element_size() == 2 else 1,
    )
