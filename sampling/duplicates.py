"""Prompts that say the same: equal texts, or features at nearly the same angle. The first of each is kept.

The paper removes none, so this is an option. The distances stay those to the whole set, repetitions included.
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
    """Repetitions that cannot be looked for; the message says why."""


def first_of_each(texts: Iterable[str]) -> NDArray[np.bool_]:
    """Which texts occur for the first time, bool (N,)."""
    seen: set[str] = set()
    first: list[bool] = []
    for text in texts:
        first.append(text not in seen)
        seen.add(text)
    return np.array(first, dtype=np.bool_)


def first_of_near(
    features: NDArray[np.floating], cosine: float, progress: Callable[[int, int], None] | None = None
) -> NDArray[np.bool_]:
    """Which rows have no kept earlier row within ``cosine``, bool (N,); in the order of the rows."""
    if not 0.0 < cosine <= 1.0:
        raise DuplicatesError(f"the cosine of near duplicates must lie in (0, 1], not at {cosine}")
    count = len(features)
    if count > NEAR_LIMIT:
        raise DuplicatesError(
            f"near duplicates are looked for among all pairs, of at most {NEAR_LIMIT} prompts; there are {count}"
        )
    unit = np.asarray(features, np.float32)
    norms = np.linalg.norm(unit, axis=1, keepdims=True)
    if not (np.isfinite(norms) & (norms > 0)).all():
        bad = int(np.argmin((np.isfinite(norms) & (norms > 0))[:, 0]))
        raise DuplicatesError(f"the features of prompt {bad} have no direction (norm {float(norms[bad, 0])})")
    unit = unit / norms
    limit = np.float32(cosine) - np.float32(1e-6)  # rounding of a float32 product: a row is at cosine 1 to itself
    kept = np.ones(count, bool)
    for start in range(0, count, BLOCK):
        block = unit[start : start + BLOCK]
        fresh = np.ones(len(block), bool)
        for earlier in range(0, start, BLOCK):
            known = kept[earlier : earlier + BLOCK]
            fresh &= ~(block @ unit[earlier : earlier + BLOCK][known].T >= limit).any(axis=1)
        near = block @ block.T >= limit
        for i in np.flatnonzero(fresh):  # within the block one after the other: what is dropped drops nothing
            fresh[i] = not near[i, :i][fresh[:i]].any()
        kept[start : start + BLOCK] = fresh
        if progress is not None:
            progress(min(start + BLOCK, count), count)
    return kept
