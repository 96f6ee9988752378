"""Count ratings by category, evaluator and prompt: all that shares, means and their two-way errors need.

Where what a rating adds to an estimate depends on its category alone, its clustered variance is a quadratic form: with
x_g the counts (K,) of a cluster's ratings by category, n_g their sum, p the shares of all ratings and w what one rating
of each category adds (Σ_i w = 0),

    Σ_g (Σ_{i in g} w_i)² = wᵀ [Σ_g d_g d_gᵀ] w,   d_g = x_g − n_g p.

Three matrices (K, K), of evaluators, of prompts and of cells of both, therefore stand for any number of ratings. The
functions of ``analysis.clustered`` take a ``Tally`` in place of ``Clusters``, and then values of the K categories in
place of values of the N ratings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenhand.analysis.clustered import ClusterError, inflated, reason_without_interval, two_way

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Tally:
    """Ratings of K categories, counted: in all, and between clusters as the module's docstring says."""

    counts: Floats  # (K,)
    by_evaluator: Floats  # Σ d dᵀ over evaluators, (K, K), times G / (G − 1)
    by_prompt: Floats
    by_cell: Floats
    evaluators: int
    prompts: int

    @property
    def n(self) -> int:
        """Number of ratings."""
        return int(self.counts.sum())

    @property
    def degrees_of_freedom(self) -> int:
        """One less than the smaller number of clusters."""
        return min(self.evaluators, self.prompts) - 1

    @property
    def reason(self) -> str:
        """Say why there is no interval; empty if there is one."""
        return reason_without_interval(self.n, self.evaluators, self.prompts)

    def total(self, values: Floats) -> float:
        """Sum over all ratings what each category has, (K,)."""
        return float(self.counts @ values)

    def occurring(self, values: Floats) -> Floats:
        """Return the values of the categories that occur."""
        return values[self.counts > 0]

    def variance(self, added: Floats) -> float:
        """The clustered variance of a sum to which a rating of each category adds ``added``, (K,)."""
        one, other, cell = (float(added @ table @ added) for table in (self.by_evaluator, self.by_prompt, self.by_cell))
        return two_way(one, other, cell)


def tally(categories: ArrayLike, count: int, evaluators: ArrayLike, prompts: ArrayLike) -> Tally:
    """Count ratings (N,) of categories 0 … count − 1, by evaluators and of prompts, numbers from 0 each, (N,)."""
    category, evaluator, prompt = (np.asarray(each, dtype=np.intp) for each in (categories, evaluators, prompts))
    if category.ndim != 1 or not category.shape == evaluator.shape == prompt.shape:
        raise ClusterError(
            f"categories {category.shape}, evaluators {evaluator.shape} and prompts {prompt.shape} must be three lists "
            "of one length"
        )
    for name, numbers, limit in (
        ("category", category, count),
        ("evaluator", evaluator, None),
        ("prompt", prompt, None),
    ):
        if len(numbers) and (numbers.min() < 0 or (limit is not None and numbers.max() >= limit)):
            raise ClusterError(f"a {name} is numbered {numbers.min()} … {numbers.max()}, not from 0")
    return tally_of_tables(
        table(category, count, evaluator),
        table(category, count, prompt),
        again=rated_again(category, count, evaluator, prompt),
    )


def table(category: Indices, count: int, cluster: Indices, clusters: int | None = None) -> Floats:
    """Count the categories of each cluster, (G, K)."""
    size = (int(cluster.max()) + 1 if len(cluster) else 0) if clusters is None else clusters
    counts = np.bincount(cluster * count + category, minlength=size * count)
    return counts.reshape(size, count).astype(np.float64)


def rated_again(category: Indices, count: int, evaluator: Indices, prompt: Indices) -> Floats:
    """Count the categories of each cell of one evaluator and one prompt that holds several ratings, (C, K)."""
    cell = evaluator * (int(prompt.max()) + 1 if len(prompt) else 1) + prompt
    order = np.sort(cell)
    repeated = np.unique(order[1:][order[1:] == order[:-1]])
    if not len(repeated):
        return np.zeros((0, count))
    place = np.searchsorted(repeated, cell)
    in_one = repeated[np.minimum(place, len(repeated) - 1)] == cell
    return table(category[in_one], count, place[in_one], len(repeated))


def tally_of_tables(by_evaluator: Floats, by_prompt: Floats, *, again: Floats) -> Tally:
    """Make a tally of counts by evaluator (G_E, K) and by prompt (G_P, K), of the same ratings.

    ``again`` (C, K) are the counts of the cells with several ratings; every other cell holds one.
    """
    counts: Floats = by_evaluator.sum(axis=0)
    n = float(counts.sum())
    shares = counts / max(n, 1.0)
    singles = counts - again.sum(axis=0)
    alone = np.diag(singles) - np.outer(singles, shares) - np.outer(shares, singles)
    by_cell = alone + singles.sum() * np.outer(shares, shares) + _products(again, shares)
    cells = int(singles.sum()) + len(again)
    evaluators, prompts = (int((each.sum(axis=1) > 0).sum()) for each in (by_evaluator, by_prompt))
    return Tally(
        counts=counts,
        by_evaluator=_products(by_evaluator, shares) * inflated(evaluators),
        by_prompt=_products(by_prompt, shares) * inflated(prompts),
        by_cell=by_cell * inflated(cells),
        evaluators=evaluators,
        prompts=prompts,
    )


def _products(counts: Floats, shares: Floats) -> Floats:
    """Sum d dᵀ over clusters."""
    apart = counts - counts.sum(axis=1, keepdims=True) * shares
    products: Floats = apart.T @ apart
    return products
