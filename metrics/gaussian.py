"""Fit Gaussians to features that stream by: mean and covariance in float64, stored under a key.

Only the sums are kept, so that memory does not grow with the number of pictures.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenhand.errors import InputError

Floats = NDArray[np.float64]


class GaussianError(InputError):
    """No Gaussian can be fitted or read; the message says why."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The mean (d,) and covariance (d, d; ddof = 1) of ``count`` rows of features."""

    count: int
    mean: Floats
    covariance: Floats

    def save(self, path: Path) -> None:
        """Write a ``.npz`` file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, count=self.count, mean=self.mean, covariance=self.covariance)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path) -> Gaussian:
        """Read what ``save`` wrote. Raises ``GaussianError`` for another or a damaged file."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                count, mean, covariance = int(arrays["count"]), arrays["mean"], arrays["covariance"]
        except (KeyError, OSError, ValueError, EOFError) as error:
            raise GaussianError(f"{path} holds no statistics: {error}") from error
        if covariance.shape != (len(mean), len(mean)) or count < 2 or not np.isfinite(covariance).all():
            raise GaussianError(f"{path} holds no statistics of one set: {count} rows, {covariance.shape}")
        return cls(count, mean, covariance)


class GaussianSums:
    """Sums of rows and of their products.

    Rows are shifted by the first block's mean, so that the covariance is no small difference of large sums.
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self._shift: Floats | None = None
        self._sum: Floats = np.zeros(dimension)
        self._products: Floats = np.zeros((dimension, dimension))

    def add(self, rows: ArrayLike) -> None:
        """Add rows (n, d). Raises ``GaussianError`` for NaN and infinity."""
        block = np.asarray(rows, dtype=np.float64)
        if not len(block):
            return
        if not np.isfinite(block).all():
            raise GaussianError(f"features after row {self.count} are not finite")
        if self._shift is None:
            self._shift = block.mean(axis=0)
        block = block - self._shift
        self.count += len(block)
        self._sum += block.sum(axis=0)
        self._products += block.T @ block

    def gaussian(self) -> Gaussian:
        """Return mean and covariance. Raises ``GaussianError`` for fewer than two rows."""
        if self.count < 2 or self._shift is None:
            raise GaussianError(f"a covariance needs at least 2 rows, there are {self.count}")
        mean = self._sum / self.count
        covariance = np.outer(mean, mean)  # then in place: of 2048 dimensions each copy takes 34 MB
        covariance *= -self.count
        covariance += self._products
        covariance /= self.count - 1
        covariance += covariance.T
        covariance /= 2.0
        return Gaussian(self.count, mean + self._shift, covariance)
