"""Find duplicate prompts: equal texts, or features at nearly the same angle.

The first prompt of each group of duplicates is kept. Deduplication is optional because the paper removes no duplicates.
Distances are always to the whole set, duplicates included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from evenhand.errors import InputError

DEDUPLICATION = ("none", "exact", "near")
NEAR_LIMIT = 200_000  # prompts; every pair is compared
BLOCK = 1024


class DuplicatesError(InputError):
    """The search for duplicates is impossible; the message says why."""


def first_of_each(texts: Iterable[str]) -> NDArray[np.bool_]:
    """Mark the texts that occur for the first time, bool (N,)."""
    earlier_texts: set[str] = set()
    is_first: list[bool] = []
    for text in texts:
        is_first.append(text not in earlier_texts)
        earlier_texts.add(text)
    return np.array(is_first, dtype=np.bool_)


def first_of_near(
    features: NDArray[np.floating], cosine: float, progress: Callable[[int, int], None] | None = None
) -> NDArray[np.bool_]:
    """Mark the rows that have no kept earlier row within ``cosine``, bool (N,), going through the rows in order."""
    if not 0.0 < cosine <= 1.0:
        raise DuplicatesError(f"the cosine of near duplicates must lie in (0, 1], not at {cosine}")
    count = len(features)
    if count > NEAR_LIMIT:
        raise DuplicatesError(
            f"near duplicates are looked for among all pairs, of at most {NEAR_LIMIT} prompts; there are {count}"
        )
    unit_features = np.asarray(features, np.float32)
    norms = np.linalg.norm(unit_features, axis=1, keepdims=True)
    if not (np.isfinite(norms) & (norms > 0)).all():
        prompt_index = int(np.argmin((np.isfinite(norms) & (norms > 0))[:, 0]))
        raise DuplicatesError(
            f"the features of prompt {prompt_index} have no direction (norm {float(norms[prompt_index, 0])})"
        )
    unit_features = unit_features / norms
    minimum_cosine = np.float32(cosine) - np.float32(
        1e-6
    )  # tolerance: the float32 cosine of a row to itself may be below 1
    keep_mask = np.ones(count, bool)
    for start in range(0, count, BLOCK):
        block = unit_features[start : start + BLOCK]
        block_mask = np.ones(len(block), bool)
        for earlier_start in range(0, start, BLOCK):
            earlier_mask = keep_mask[earlier_start : earlier_start + BLOCK]
            block_mask &= ~(
                block @ unit_features[earlier_start : earlier_start + BLOCK][earlier_mask].T >= minimum_cosine
            ).any(axis=1)
        near_pairs = block @ block.T >= minimum_cosine
        for i in np.flatnonzero(block_mask):  # in order, because a dropped row must not drop others
            block_mask[i] = not near_pairs[i, :i][block_mask[:i]].any()
        keep_mask[start : start + BLOCK] = block_mask
        if progress is not None:
            progress(min(start + BLOCK, count), count)
    return keep_mask
