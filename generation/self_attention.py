"""Change self-attention on some rows of a batch: identity attention, or blurred queries.

Every row of a call has its own entry in the tensors, so their shapes depend on the batch alone: a compiled graph serves
all rows of the same layers, and plain rows keep stock attention's result, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from evenhand.errors import InputError
from evenhand.generation.methods.rows import SelfAttention

SelfChanges = Mapping[str, "SelfChange"]  # by the module's name


class LayerError(InputError):
    """Layers that a network does not have; the message names them and those that it has."""


class SelfChange(NamedTuple):
    """The changes of a batch's rows in one module. None: no row has this change.

    identity: (B, 1, 1, 1) bool, rows in which every patch attends to itself alone.
    blurred: (B, 1, 1, 1) bool, rows whose queries are blurred.
    kernels: for each number of patches the blur along rows (B, 1, rows, rows) and columns (B, 1, columns, columns).
    """

    identity: torch.Tensor | None
    blurred: torch.Tensor | None
    kernels: dict[int, tuple[torch.Tensor, torch.Tensor]]


def self_attention_modules(unet: UNet2DConditionModel, layers: Sequence[str]) -> list[str]:
    """List the self-attention modules that ``layers`` name: themselves, or the blocks they lie in.

    Raises LayerError for a layer that holds none.
    """
    names = [
        name for name, module in unet.named_modules() if isinstance(module, Attention) and not module.is_cross_attention
    ]
    for layer in layers:
        if not any(_lies_in(name, layer) for name in names):
            raise LayerError(f"{layer!r} holds no self-attention of this network, which has it in {', '.join(names)}")
    return [name for name in names if any(_lies_in(name, layer) for layer in layers)]


def self_changes(
    unet: UNet2DConditionModel,
    changes: Sequence[SelfAttention | None],
    latent_size: tuple[int, int],
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, SelfChange] | None:
    """Return the changes of a batch by module, one entry a row (None: a plain row); None where all rows are plain.

    latent_size: rows and columns of the latents. dtype: the network's.
    """
    modules = {change: self_attention_modules(unet, change.layers) for change in changes if change is not None}
    changed_modules = list(dict.fromkeys(name for names in modules.values() for name in names))
    found = {
        name: _self_change([change if change and name in modules[change] else None for change in changes], latent_size)
        for name in changed_modules
    }
    working_dtype = torch.promote_types(dtype, torch.float32)
    return {name: _moved(change, device, working_dtype) for name, change in found.items()} or None


def blurred_queries(query: torch.Tensor, change: SelfChange) -> torch.Tensor:
    """Return the queries (B, heads, patches, d), those of blurred rows blurred over the grid of patches."""
    if change.blurred is None:
        return query
    along_rows, along_columns = change.kernels[query.shape[2]]
    rows, columns = along_rows.shape[-1], along_columns.shape[-1]
    working = query.to(along_rows.dtype)
    # As one product a row and head, whose bits do not depend on how many there are.
    working = _product(along_rows, working.unflatten(2, (rows, columns)).flatten(3))  # (B, heads, rows, columns·d)
    working = working.unflatten(3, (columns, -1)).transpose(2, 3).flatten(3)  # (B, heads, columns, rows·d)
    working = _product(along_columns, working).unflatten(3, (rows, -1)).transpose(2, 3).flatten(2, 3)
    return torch.where(change.blurred, working.to(query.dtype), query)


def _product(kernels: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(B, 1, n, n) times (B, heads, n, m)."""
    heads = values.shape[1]
    left = kernels.expand(-1, heads, -1, -1).flatten(0, 1)
    return torch.bmm(left, values.flatten(0, 1)).unflatten(0, (-1, heads))


def _lies_in(name: str, layer: str) -> bool:
    return name == layer or name.startswith(f"{layer}.")


def _self_change(changes: Sequence[SelfAttention | None], latent_size: tuple[int, int]) -> SelfChange:
    identity = [change is not None and change.blur is None for change in changes]
    blurs = [0.0 if change is None or change.blur is None else change.blur for change in changes]
    blurred = [change is not None and change.blur is not None for change in changes]
    return SelfChange(
        _as_rows(identity) if any(identity) else None,
        _as_rows(blurred) if any(blurred) else None,
        {rows * columns: (_kernels(rows, blurs), _kernels(columns, blurs)) for rows, columns in _grids(latent_size)}
        if any(blurred)
        else {},
    )


def _moved(change: SelfChange, device: torch.device, dtype: torch.dtype) -> SelfChange:
    return SelfChange(
        None if change.identity is None else change.identity.to(device),
        None if change.blurred is None else change.blurred.to(device),
        {
            patches: (along_rows.to(device, dtype), along_columns.to(device, dtype))
            for patches, (along_rows, along_columns) in change.kernels.items()
        },
    )


def _as_rows(flags: Sequence[bool]) -> torch.Tensor:
    return torch.tensor(flags).view(-1, 1, 1, 1)


def _grids(latent_size: tuple[int, int]) -> list[tuple[int, int]]:
    """The latents' size, halved until one patch is left; a convolution of stride two rounds up."""
    grids = [latent_size]
    while max(grids[-1]) > 1:
        rows, columns = grids[-1]
        grids.append((-(-rows // 2), -(-columns // 2)))
    return grids


def _kernels(size: int, blurs: Sequence[float]) -> torch.Tensor:
    """(B, 1, size, size)."""
    return torch.stack([blur_matrix(size, blur) for blur in blurs]).unsqueeze(1)


@lru_cache(maxsize=256)
def blur_matrix(size: int, sigma: float) -> torch.Tensor:
    """Gaussian blur along one axis as a matrix, float64 (size, size); rows sum to one.

    As in Hong's code: the kernel is the next odd width above 6σ, at most as wide as the axis (one more, where that is
    even); beyond the edges the axis is mirrored without repeating its end. σ = 0 changes nothing, infinite is the mean.
    """
    if math.isinf(sigma):
        return torch.full((size, size), 1.0 / size, dtype=torch.float64)
    half = min(math.ceil(min(6 * sigma, 2 * size)) // 2, size // 2)  # 6σ may be beyond all floats
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) if offset else 1.0 for offset in range(-half, half + 1)]
    matrix = [[0.0] * size for _ in range(size)]
    for position in range(size):
        for offset, weight in enumerate(weights, -half):
            matrix[position][_mirrored(position + offset, size)] += weight / math.fsum(weights)
    return torch.tensor(matrix, dtype=torch.float64)


def _mirrored(position: int, size: int) -> int:
    if size == 1:
        return 0
    position = abs(position) % (2 * size - 2)
    return min(position, 2 * size - 2 - position)
