"""Representative subsets: a swap search that brings a subset's mean and covariance near those of the whole set.

Beyond the paper, which draws at random. To second order, the squared Fréchet distance of nearby Gaussians is
``|Δm|² + ½ Σ_ij ΔΣ_ij² / (λ_i + λ_j)`` in the eigenbasis of Σ. With ``λ_i + λ_j ≥ 2 √(λ_i λ_j)`` in its place this is a
squared distance of mean embeddings under the kernel ``k(x, y) = x·y + ¼ (u·v)²`` with ``u = Λ^-¼ x``, so that what a
swap changes is known from kernel values alone. Blocks of members meet blocks of others; within a block every member is
exchanged for the best of the others if that lowers the distance. The search starts from the random draw of its seed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evenhand.metrics.frechet import FeatureError, Floats, FrechetReference
from evenhand.sampling.draws import SubsetError, random_subset

MEMBERS, OTHERS = 128, 512  # of one block
PASSES = 2  # every member meets others at least so often
CANDIDATES = 8192  # others that are looked at, at least, where there are so many
# Directions of hardly any variance must not rule the search: added to Λ, as a share of what a random draw errs by.
REGULARISATION = 0.1


def representative_subset(
    reference: FrechetReference,
    size: int,
    seed: int,
    *,
    pool: NDArray[np.intp] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.intp]:
    """``size`` row indices whose Gaussian lies close to the whole set's, sorted; the seed settles them.

    ``pool``: the rows that may be drawn, where it is not all of them. Rounding decides close races, so another
    machine may choose a few others; what was drawn is therefore written down, not drawn again.
    """
    rows = np.arange(reference.count) if pool is None else pool
    if size < 2:
        raise SubsetError(f"a representative subset has at least 2 prompts, not {size}")
    chosen = rows[random_subset(len(rows), size, seed)]
    if reference.is_constant:
        raise FeatureError(f"the features of all {reference.count} prompts are equal: no draw represents them better")
    rng = np.random.default_rng([seed, 1])  # not the stream of the random draw
    state = _State(reference, chosen)
    others = rng.permutation(np.setdiff1d(rows, chosen, assume_unique=True))
    per_pass = -(-size // MEMBERS)
    passes = max(PASSES, -(-min(CANDIDATES, len(others)) // (OTHERS * per_pass)))
    met = 0
    for done in range(passes * per_pass if len(others) else 0):
        if done % per_pass == 0:
            order = rng.permutation(size)
        places = order[done % per_pass * MEMBERS :][:MEMBERS]
        beside = np.arange(met, met + min(OTHERS, len(others))) % len(others)
        met += len(beside)
        kept = state.exchange(chosen[places], others[beside])
        both = np.concatenate([chosen[places], others[beside]])
        chosen[places], others[beside] = both[kept], both[~kept]
        if progress is not None:
            progress(done + 1, passes * per_pass)
    return np.sort(chosen)


class _State:
    """How far the subset's moments are from where they should be, and the kernel that measures it."""

    def __init__(self, reference: FrechetReference, chosen: NDArray[np.intp]) -> None:
        self.reference, self.size = reference, len(chosen)
        softened = reference.variances + REGULARISATION * reference.trace / self.size
        self.scale = softened**-0.25  # Λ^-¼
        # Σ has ddof 1, the moments here have none
        target = reference.variances * self.scale**2 * (self.size - 1) / self.size
        self.mean: Floats = np.zeros(reference.dimension)
        self.moment: Floats = np.diag(-target)  # Σ uuᵀ/n − target
        for start in range(0, self.size, OTHERS):
            self._add(self._rows(chosen[start : start + OTHERS]), 1)

    def _rows(self, indices: NDArray[np.intp]) -> Floats:
        """X − μ in the eigenbasis of Σ."""
        return self.reference.centred_rows(indices) @ self.reference.vectors

    def _add(self, rows: Floats, sign: int) -> None:
        scaled = rows * self.scale
        self.mean += sign * rows.sum(axis=0) / self.size
        self.moment += sign * (scaled.T @ scaled) / self.size

    def exchange(self, members: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of ``members`` and ``others`` are members after the exchange; as many as before."""
        rows = self._rows(np.concatenate([members, others]))
        scaled = rows * self.scale
        kernel = rows @ rows.T + 0.25 * (scaled @ scaled.T) ** 2
        own = kernel.diagonal()
        # n ⟨residual, φ(x)⟩; exchanging i for j adds 2 (pull_j − pull_i) + |φ_i − φ_j|² to n² |residual|²
        pull = self.size * (rows @ self.mean + 0.25 * np.einsum("nd,nd->n", scaled @ self.moment, scaled))
        inside = np.arange(len(rows)) < len(members)
        for i in range(len(members)):
            change = 2.0 * (pull - pull[i]) + own + own[i] - 2.0 * kernel[i]
            change[inside] = 0.0
            j = int(np.argmin(change))
            if change[j] < 0.0:
                inside[i], inside[j] = False, True
                pull += kernel[j] - kernel[i]
        before = np.arange(len(rows)) < len(members)
        self._add(rows[inside & ~before], 1)
        self._add(rows[before & ~inside], -1)
        return inside
