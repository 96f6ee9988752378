"""Make a visibly damaged copy of a picture, for attention checks, with a file of a wanted size. Needs only numpy.

A damaged copy that compresses worse or better than ordinary pictures could be told by the length of its file. So the
damage moves and recolours blocks, which hardly changes what there is to compress, and the copy is then smoothed, or
gets grain, until the file has the wanted size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import InputError

Picture = NDArray[np.uint8]

CUTS = (4, 3, 2, 2)  # blocks along a side, as they are tried; fewer add fewer edges to the file
SMOOTHEST = 6.0  # passes of smoothing
GRAINIEST = 16.0  # standard deviation of the grain, grey levels
HALVINGS = 6  # of the range in which the coarseness or the grain is sought
VISIBLE = 30.0  # mean absolute difference from the picture, grey levels


@dataclass(frozen=True)
class Attempt:
    """A damaged copy, and how far its file's size is from the wanted one, as a signed logarithm of the ratio."""

    picture: Picture
    miss: float


def damaged(picture: Picture, rng: np.random.Generator, *, cuts: int = 4, texture: float = 0.0) -> Picture:
    """Shuffle the picture's blocks and recolour every second one, so that it is clearly the worse one: uint8 (H, W, 3).

    cuts: blocks along a side. texture: −1 … 1; below 0 the grey levels are smoothed, above 0 grain is added.
    Pixels beyond the last whole block, at the lower and right edges, keep their places.
    """
    height, width = (side // cuts for side in picture.shape[:2])
    if min(height, width) == 0:
        raise InputError(f"a picture of {picture.shape[1]}×{picture.shape[0]} is too small to be cut into blocks")
    result = picture.copy()
    recoloured = _recoloured(picture)
    places = [(row * height, column * width) for row in range(cuts) for column in range(cuts)]
    for number, ((y, x), source) in enumerate(zip(places, rng.permutation(len(places)), strict=True)):
        v, u = places[int(source)]
        block = picture[v : v + height, u : u + width]
        odd = sum(divmod(number, cuts)) % 2
        result[y : y + height, x : x + width] = recoloured[v : v + height, u : u + width] if odd else block
    return _textured(result, texture, rng)


def damaged_to_size(
    picture: Picture, rng: np.random.Generator, miss: Callable[[Picture], float], *, near: float = 0.005
) -> Picture:
    """Return the plainly damaged copy whose file's size misses the wanted one least.

    miss: tells of a picture by how much its file is larger than wanted, as the logarithm of a ratio; negative where it
    is smaller. near: a miss that is small enough to stop at.
    """
    best: Attempt | None = None
    for attempt in _attempts(picture, rng, miss):
        if best is None or abs(attempt.miss) < abs(best.miss):
            best = attempt
        if abs(best.miss) <= near:
            break
    assert best is not None  # there is at least one attempt
    return best.picture


def _attempts(picture: Picture, rng: np.random.Generator, miss: Callable[[Picture], float]) -> Iterator[Attempt]:
    shortest = min(picture.shape[:2])
    for cuts in [cuts for cuts in CUTS if cuts <= shortest] or CUTS[:1]:
        seed = int(rng.integers(2**63))  # the same blocks for every texture
        low, high, texture = -1.0, 1.0, 0.0
        for _ in range(1 + HALVINGS):
            copy = damaged(picture, np.random.default_rng(seed), cuts=cuts, texture=texture)
            attempt = Attempt(copy, miss(copy))
            yield attempt
            low, high = (low, texture) if attempt.miss > 0 else (texture, high)
            texture = (low + high) / 2


def _recoloured(picture: Picture) -> Picture:
    """Invert the colours, or make them lighter where inverting would hardly be seen."""
    inverted: Picture = 255 - picture
    if np.abs(inverted.astype(np.int16) - picture).mean() >= 2 * VISIBLE:
        return inverted
    return np.minimum(picture.astype(np.int16) + int(3 * VISIBLE), 255).astype(np.uint8)


def _textured(picture: Picture, texture: float, rng: np.random.Generator) -> Picture:
    if texture < 0:
        return np.rint(_smoothed(picture.astype(np.float64), -texture * SMOOTHEST)).astype(np.uint8)
    if texture > 0:
        grain = rng.normal(0.0, GRAINIEST * texture**2, picture.shape)
        return np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8)
    return picture


def _smoothed(values: NDArray[np.float64], passes: float) -> NDArray[np.float64]:
    """Average neighbours with the weights 1, 2, 1, so many times along both sides; a fraction is a weaker pass."""
    while passes > 0:
        weight = min(1.0, passes) / 4
        for axis in (0, 1):
            padded = np.pad(values, [(1, 1) if axis == k else (0, 0) for k in range(3)], mode="edge")
            before, after = (np.take(padded, range(k, k + values.shape[axis]), axis) for k in (0, 2))
            values = (1 - 2 * weight) * values + weight * (before + after)
        passes -= 1
    return values
