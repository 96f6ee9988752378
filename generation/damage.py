"""A picture plainly damaged, for attention checks. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import InputError

BLOCKS = 8  # a side is cut into so many blocks
NOISE = 60.0  # standard deviation of the added noise, grey levels


def damaged(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture's blocks in a random order, under strong noise: uint8 (H, W, 3), nobody takes it for the better one.

    What does not divide into blocks, at the lower and right edges, keeps its place.
    """
    height, width = (side // BLOCKS for side in picture.shape[:2])
    if min(height, width) == 0:
        raise InputError(f"a picture of {picture.shape[1]}×{picture.shape[0]} is too small to be cut into blocks")
    result = picture.astype(np.float64)
    places = [(row * height, column * width) for row in range(BLOCKS) for column in range(BLOCKS)]
    for (y, x), source in zip(places, rng.permutation(len(places)), strict=True):
        v, u = places[int(source)]
        result[y : y + height, x : x + width] = picture[v : v + height, u : u + width]
    result += rng.normal(0.0, NOISE, picture.shape)
    clipped: NDArray[np.uint8] = np.clip(np.rint(result), 0, 255).astype(np.uint8)
    return clipped
