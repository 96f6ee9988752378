"""Compute FID (Heusel et al. 2017), and say where there are too few pictures for it to be believed.

FID is the squared Fréchet distance of ``metrics.frechet`` between Inception features. The covariance of n pictures has
a rank of n − 1 at most: in Inception's 2,048 dimensions fewer pictures leave directions without any variance. That
makes the distance too large, by an amount that differs between sets, so that the order of two models may be the bias's
alone (Chong & Forsyth 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evenhand.metrics.frechet import FrechetTarget

FEWEST = 2048  # pictures, as many as Inception's features have dimensions


@dataclass(frozen=True)
class Fid:
    """A squared Fréchet distance, from how many pictures it is, and what speaks against believing it.

    warnings: one plain sentence for each set that is too small; empty if both are large enough.
    """

    distance: float
    pictures: int
    reference: int
    warnings: tuple[str, ...]


def fid(target: FrechetTarget, features: ArrayLike) -> Fid:
    """Compute the distance of features (n, d) to the reference's Gaussian, and warn where either set is small.

    Raises ``FeatureError`` for fewer than two rows, another dimension, NaN and infinity.
    """
    distance, n = target.distance_to(features), len(np.asanyarray(features))
    sets = ((n, "pictures"), (target.count, "reference pictures"))
    warnings = tuple(few_pictures(count, target.dimension, what) for count, what in sets)
    return Fid(distance, n, target.count, tuple(filter(None, warnings)))


def few_pictures(count: int, dimension: int, what: str = "pictures") -> str:
    """Say what is wrong with a covariance of so many pictures; empty from ``FEWEST`` and one above the dimension on."""
    if count >= FEWEST and count > dimension:
        return ""
    rank = (
        f"their covariance has a rank of {count - 1:,} at most, of {dimension:,} dimensions"
        if count <= dimension
        else f"that is fewer than {FEWEST:,}"
    )
    return (
        f"{count:,} {what}: {rank}, so the distance is too large by an unknown amount. Compare it only with distances "
        "of equally many pictures to the same reference, extrapolate it, or use KID."
    )
