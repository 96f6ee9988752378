"""Search by swaps for a subset whose mean and covariance are near those of the whole set.

The paper draws at random; this is an addition. To second order, the squared Fréchet distance of nearby Gaussians is
``|Δm|² + ½ Σ_ij ΔΣ_ij² / (λ_i + λ_j)`` in the eigenbasis of Σ. With ``λ_i + λ_j ≥ 2 √(λ_i λ_j)`` in its place this is a
squared distance of mean embeddings under the kernel ``k(x, y) = x·y + ¼ (u·v)²`` with ``u = Λ^-¼ x``, so that the
effect of a swap follows from kernel values alone. Blocks of members are compared with blocks of other rows; each member
is exchanged for the best other row of its block if that lowers the distance. The search starts from the random draw of
its seed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evenhand.metrics.frechet import FeatureError, Floats, FrechetReference
from evenhand.sampling.draws import SubsetError, random_subset

MEMBERS, OTHERS = 128, 512  # of one block
PASSES = 2  # minimum number of blocks that each member takes part in
CANDIDATES = 8192  # minimum number of other rows that are examined, if there are as many
# Added to Λ, as a share of the mean error of a random draw: without it directions of almost no variance would dominate.
REGULARISATION = 0.1


def representative_subset(
    reference: FrechetReference,
    size: int,
    seed: int,
    *,
    pool: NDArray[np.intp] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.intp]:
    """Select ``size`` row indices whose Gaussian is close to the whole set's, sorted; determined by the seed.

    ``pool``: the rows that may be selected, if not all. Rounding decides between nearly equal swaps, so another machine
    may select a few other rows; callers therefore store the indices instead of recomputing them.
    """
    rows = np.arange(reference.count) if pool is None else pool
    if size < 2:
        raise SubsetError(f"a representative subset has at least 2 prompts, not {size}")
    members = rows[random_subset(len(rows), size, seed)]
    if reference.is_constant:
        raise FeatureError(f"the features of all {reference.count} prompts are equal: no draw represents them better")
    rng = np.random.default_rng([seed, 1])  # a stream independent of the random draw's
    state = _State(reference, members)
    other_rows = rng.permutation(np.setdiff1d(rows, members, assume_unique=True))
    per_pass = -(-size // MEMBERS)
    passes = max(PASSES, -(-min(CANDIDATES, len(other_rows)) // (OTHERS * per_pass)))
    others_start = 0
    for round_index in range(passes * per_pass if len(other_rows) else 0):
        if round_index % per_pass == 0:
            order = rng.permutation(size)
        member_places = order[round_index % per_pass * MEMBERS :][:MEMBERS]
        other_places = np.arange(others_start, others_start + min(OTHERS, len(other_rows))) % len(other_rows)
        others_start += len(other_places)
        is_member = state.exchange(members[member_places], other_rows[other_places])
        candidates = np.concatenate([members[member_places], other_rows[other_places]])
        members[member_places], other_rows[other_places] = candidates[is_member], candidates[~is_member]
        if progress is not None:
            progress(round_index + 1, passes * per_pass)
    return np.sort(members)


class _State:
    """The difference of the subset's moments from the whole set's, and the kernel that measures it."""

    def __init__(self, reference: FrechetReference, members: NDArray[np.intp]) -> None:
        self.reference, self.size = reference, len(members)
        regularised_variances = reference.variances + REGULARISATION * reference.trace / self.size
        self.scale = regularised_variances**-0.25  # Λ^-¼
        # Σ has ddof 1, the moments here ddof 0
        target = reference.variances * self.scale**2 * (self.size - 1) / self.size
        self.mean: Floats = np.zeros(reference.dimension)
        self.moment: Floats = np.diag(-target)  # Σ uuᵀ/n − target
        for start in range(0, self.size, OTHERS):
            self._add(self._rows(members[start : start + OTHERS]), 1)

    def _rows(self, indices: NDArray[np.intp]) -> Floats:
        """Return X − μ in the eigenbasis of Σ."""
        return self.reference.centred_rows(indices) @ self.reference.vectors

    def _add(self, rows: Floats, sign: int) -> None:
        scaled = rows * self.scale
        self.mean += sign * rows.sum(axis=0) / self.size
        self.moment += sign * (scaled.T @ scaled) / self.size

    def exchange(self, members: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Exchange members for others; returns which of (members, others) are members now, as many as before."""
        rows = self._rows(np.concatenate([members, others]))
        scaled = rows * self.scale
        kernel = rows @ rows.T + 0.25 * (scaled @ scaled.T) ** 2
        diagonal = kernel.diagonal()
        # n ⟨residual, φ(x)⟩; exchanging i for j adds 2 (pull_j − pull_i) + |φ_i − φ_j|² to n² |residual|²
        pull = self.size * (rows @ self.mean + 0.25 * np.einsum("nd,nd->n", scaled @ self.moment, scaled))
        is_member = np.arange(len(rows)) < len(members)
        for i in range(len(members)):
            change = 2.0 * (pull - pull[i]) + diagonal + diagonal[i] - 2.0 * kernel[i]
            change[is_member] = 0.0
            j = int(np.argmin(change))
            if change[j] < 0.0:
                is_member[i], is_member[j] = False, True
                pull += kernel[j] - kernel[i]
        was_member = np.arange(len(rows)) < len(members)
        self._add(rows[is_member & ~was_member], 1)
        self._add(rows[was_member & ~is_member], -1)
        return is_member
