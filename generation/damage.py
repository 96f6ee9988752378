"""Make a visibly damaged copy of a picture, for attention checks. Needs only numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import InputError

BLOCKS = 8  # a side is cut into so many blocks
NOISE = 60.0  # standard deviation of the added noise, grey levels


def damaged(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Shuffle the picture's blocks and add strong noise, so that it is clearly the worse one: uint8 (H, W, 3).

    Pixels beyond the last whole block, at the lower and right edges, keep their places.
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
