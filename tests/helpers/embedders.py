"""An embedder without a network, and pictures of noise, for tests of what is done with features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


class Means:
    """Features are the mean and the spread of each channel; a red mean of 13 gives NaN."""

    outputs: Mapping[str, int] = {"means": 3, "spreads": 3}

    def __init__(self, name: str = "means") -> None:
        self.name = name
        self.batches: list[int] = []

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(-1, 3).astype(np.float32)

    def embed(self, batch: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        self.batches.append(len(batch))
        means = np.stack([each.mean(axis=0) for each in batch])
        means[means[:, 0] == 13] = np.nan
        return {"means": means, "spreads": np.stack([each.std(axis=0) for each in batch])}


def picture(seed: int, height: int = 6, width: int = 5) -> np.ndarray:
    """Noise, uint8 (height, width, 3), whose channels are at least 14."""
    return np.random.default_rng(seed).integers(14, 256, (height, width, 3), dtype=np.uint8)
