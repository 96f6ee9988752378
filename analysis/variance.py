"""Divide the variance of ratings among evaluators, prompts and the rest (Henderson 1953, method 1).

The model is y = μ + a_e + b_p + ε, with random effects of evaluators and prompts and one residual, which also holds
what one evaluator thinks of one prompt alone. The sums of squares of evaluators, prompts and single ratings are
set equal to their expectations, which are linear in the three variances however unbalanced the data are. In balanced
data these are the estimators of the two-way analysis of variance. An estimate below 0 is set to 0, and named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
    kinds = {
        "evaluator": ("evaluator", groups.evaluator, groups.evaluators),
        "prompt": ("prompt", groups.prompt, groups.prompts),
    }

    def solve(names: list[str]) -> Floats | None:
        return solve_components(array - array.mean(), [kinds[name] for name in names], once=groups.rated_once)

    return _divided(array, len(array), {name: kind[2] for name, kind in kinds.items()}, solve)


def tallied_components(values: ArrayLike, by_evaluator: Floats, by_prompt: Floats) -> VarianceComponents:
    """Estimate the same of ratings in K categories with these values (K,), where nobody has rated a prompt twice.

    by_evaluator, by_prompt  how often each evaluator has each category, and each prompt, (E, K) and (P, K)
    """
    array, counts = np.asarray(values, dtype=np.float64), by_evaluator.sum(axis=0)
    n = int(counts.sum())
    tables = {
        name: table[table.sum(axis=1) > 0] for name, table in (("evaluator", by_evaluator), ("prompt", by_prompt))
    }

    def solve(names: list[str]) -> Floats | None:
        return _solve_tables(array - counts @ array / n, [tables[name] for name in names], counts)

    return _divided(array[counts > 0], n, {name: len(table) for name, table in tables.items()}, solve)


def _divided(
    occurring: Floats, n: int, clusters: Mapping[str, int], solve: Callable[[list[str]], Floats | None]
) -> VarianceComponents:
    """Divide the variance of n ratings with these values by what ``solve`` finds of the kinds of clusters."""
    nothing = VarianceComponents(math.nan, math.nan, math.nan)
    if n < 2:
        return _because(nothing, "there are fewer than two ratings")
    if not np.ptp(occurring):
        return _because(nothing, "all values are equal, so no variance can be divided")
    kinds, reasons = [], []
    for name, count in clusters.items():
        if count == 1:
            reasons.append(f"all ratings are of one {name}")
        elif count == n:
            reasons.append(f"no {name} has two ratings, so the variance of {name}s is part of the rest")
        else:
            kinds.append(name)
    solution = solve(kinds)
    if solution is None:
        return _because(nothing, "evaluators and prompts go together, so their variances cannot be told apart")
    known = dict(zip([*kinds, "residual"], solution, strict=True))
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
    return _solved(sums, expected)


def _solve_tables(centred: Floats, tables: list[Floats], counts: Floats) -> Floats | None:
    """Do so from counts by category, (G, K) each and (K,) in all; every cell of an evaluator and a prompt holds one."""
    n, sizes = counts.sum(), [table.sum(axis=1) for table in tables]
    sums = [((table @ centred) ** 2 / size).sum() for table, size in zip(tables, sizes, strict=True)]
    expected = np.zeros((len(tables) + 1, len(tables) + 1))
    for j, size in enumerate(sizes):
        expected[:, j] = [n if i == j else len(table) for i, table in enumerate(tables)] + [n]
        expected[:, j] -= (size**2).sum() / n
    expected[:, -1] = [len(table) - 1 for table in tables] + [n - 1]
    return _solved(np.array([*sums, counts @ centred**2]), expected)


def _solved(sums: Floats, expected: Floats) -> Floats | None:
    scale = np.abs(expected).max()
    if np.linalg.matrix_rank(expected / scale, tol=1e-9) < len(sums):
        return None
    solution: Floats = np.linalg.solve(expected, sums).astype(np.float64)
    return solution
