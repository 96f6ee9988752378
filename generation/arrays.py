"""Turn what a trajectory computes into arrays: latents, maps on their grids, batches one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evenhand.errors import InputError


def patch_grid(patches: int, latent_size: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of an attention module's patches: the latent's size, halved until it fits.

    Raises ValueError where no halving gives that number of patches.
    """
    rows, columns = latent_size
    while rows * columns > patches and (rows > 1 or columns > 1):
        rows, columns = -(-rows // 2), -(-columns // 2)
    if rows * columns != patches:
        raise InputError(f"{patches} patches are no halving of latents of size {latent_size[0]}×{latent_size[1]}")
    return rows, columns


def floating(latents: torch.Tensor) -> NDArray[np.floating]:
    """Return latents as float32, or as float64 where they are that."""
    floats = latents if latents.dtype == torch.float64 else latents.float()
    array: NDArray[np.floating] = floats.cpu().numpy()
    return array


def joined(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """Return arrays one after the other, as one."""
    return np.concatenate(list(parts))


def joined_by_key(parts: Sequence[Mapping[Any, NDArray[Any]]]) -> dict[Any, NDArray[Any]]:
    """Return for each key the arrays that the parts have under it, one after the other."""
    return {key: joined(part[key] for part in parts) for key in parts[0]}
