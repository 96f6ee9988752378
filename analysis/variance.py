"""Divide the variance of ratings among evaluators, prompts and the rest (Henderson 1953, method 1).

The model is y = μ + a_e + b_p + ε, with random effects of evaluators and prompts and one residual, which also holds
what one evaluator thinks of one prompt alone. The sums of squares of evaluators, prompts and single ratings are
set equal to their expectations, which are linear in the three variances however unbalanced the data are. In balanced
data these are the estimators of the two-way analysis of variance. An estimate below 0 is set to 0, and named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenhand.analysis.clustered import ClusterError, Clusters

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class VarianceComponents:
    """Variances of evaluators, of prompts and of the rest, and the two intraclass correlations.

    ``evaluator_correlation`` is that of two ratings by one evaluator of different prompts, ``prompt_correlation`` that
    of two ratings of one prompt by different evaluators. What the data do not tell is NaN, and ``reasons`` say why.
    """

    evaluator: float
    prompt: float
    residual: float
    truncated: tuple[str, ...] = ()  # the components whose estimate was below 0
    reasons: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """The variance of one rating, of those components that are known."""
        return float(np.nansum([self.evaluator, self.prompt, self.residual]))

    @property
    def evaluator_correlation(self) -> float:
        """ρ_E, 0 … 1."""
        return self.evaluator / self.total if self.total > 0 else math.nan

    @property
    def prompt_correlation(self) -> float:
        """ρ_P, 0 … 1."""
        return self.prompt / self.total if self.total > 0 else math.nan


def variance_components(values: ArrayLike, groups: Clusters) -> VarianceComponents:
    """Estimate the components of values (N,), rated by evaluators and of prompts.

    Where every prompt is rated once, prompts cannot be told from the rest, and their variance is part of it; likewise
    for evaluators.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape != groups.evaluator.shape:
        raise ClusterError(f"{len(groups.evaluator)} cluster labels for values of shape {array.shape}")
    nothing = VarianceComponents(math.nan, math.nan, math.nan)
    if len(array) < 2:
        return _because(nothing, "there are fewer than two ratings")
    if not np.ptp(array):
        return _because(nothing, "all values are equal, so no variance can be divided")
    kinds, reasons = [], []
    for name, index, count in (
        ("evaluator", groups.evaluator, groups.evaluators),
        ("prompt", groups.prompt, groups.prompts),
    ):
        if count == 1:
            reasons.append(f"all ratings are of one {name}")
        elif count == len(array):
            reasons.append(f"no {name} has two ratings, so the variance of {name}s is part of the rest")
        else:
            kinds.append((name, index, count))
    solution = solve_components(array - array.mean(), kinds, once=groups.rated_once)
    if solution is None:
        return _because(nothing, "evaluators and prompts go together, so their variances cannot be told apart")
    known = dict(zip([*(kind[0] for kind in kinds), "residual"], solution, strict=True))
    return VarianceComponents(
        **{
            name: max(float(known[name]), 0.0) if name in known else math.nan
            for name in ("evaluator", "prompt", "residual")
        },
        truncated=tuple(name for name, value in known.items() if value < 0),
        reasons=tuple(reasons),
    )


def _because(components: VarianceComponents, reason: str) -> VarianceComponents:
    return VarianceComponents(components.evaluator, components.prompt, components.residual, reasons=(reason,))


def solve_components(centred: Floats, kinds: list[tuple[str, NDArray[np.intp], int]], *, once: bool) -> Floats | None:
    """Set sums of squares equal to their expectations; None if these do not tell the components apart.

    Between clusters of one kind, Σ_g n_g ȳ_g² − n ȳ² expects Σ_c (Σ_g Σ_h n_gh² / n_g − Σ_h n_h² / n) σ_c² +
    (G − 1) σ², the sum over the kinds c with clusters h; the total Σ y² − n ȳ² is one such sum with each rating its
    own cluster. Where nobody rated a prompt twice (``once``), every n_gh of two kinds is 1 and the double sum is G.
    """
    n = len(centred)
    each = np.arange(n)
    rows = [(index, count) for _, index, count in kinds] + [(each, n)]
    sums, expected = np.zeros(len(rows)), np.zeros((len(rows), len(rows)))
    for i, (index, count) in enumerate(rows):
        sizes = np.bincount(index, minlength=count)
        sums[i] = (np.bincount(index, centred, minlength=count) ** 2 / sizes).sum()
        expected[i, -1] = count - 1
        for j, (other, other_count) in enumerate(rows[:-1]):
            if i == j or i == len(rows) - 1:
                within = float(n)
            elif once:
                within = float(count)
            else:
                cells, cell_sizes = np.unique(index * other_count + other, return_counts=True)
                within = (cell_sizes.astype(np.float64) ** 2 / sizes[cells // other_count]).sum()
            expected[i, j] = within - (np.bincount(other).astype(np.float64) ** 2).sum() / n
    scale = np.abs(expected).max()
    if np.linalg.matrix_rank(expected / scale, tol=1e-9) < len(rows):
        return None
    solution: Floats = np.linalg.solve(expected, sums).astype(np.float64)
    return solution
