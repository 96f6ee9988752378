"""Fit cumulative-link models of ordered choices (McCullagh 1980; Agresti 2010, chapters 3 and 5).

A latent opinion x·β + ε falls between thresholds: ``P(Y ≤ k) = F(θ_k − x·β)``, with F the logistic (proportional odds)
or the normal distribution. Symmetric thresholds, of preferences −2 … 2, are −θ₂, −θ₁, θ₁, θ₂: then an intercept in x
is the latent lead of the candidate, and β = 0 means that neither side is preferred. The log-likelihood is concave in
(θ, β) (Pratt 1981), so Newton's method with step halving finds its only maximum, if it has one.

Errors that know of evaluators and prompts are the two-way clustered sandwich: each rating adds the inverse information
times its score to the estimate, and these additions are summed as ``analysis.clustered`` sums ratings.

Degenerate data:

- categories that nobody chose join the thresholds around them, with a note; with symmetric thresholds this happens only
  where both sides of a strength are empty;
- one category alone, covariates that repeat one another, and separated data (a linear programme decides exactly):
  ``OrdinalError``, which names the covariate.

``analysis.crossed`` fits random effects of evaluators and prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from evenhand.analysis.clustered import LEVEL, Clusters, Estimate, Groups, influence_estimate, two_way_covariance
from evenhand.analysis.link import LINKS, densities, log_difference, threshold_basis
from evenhand.analysis.tallies import Tally
from evenhand.errors import InputError

Floats = NDArray[np.float64]


class OrdinalError(InputError):
    """The model cannot be fitted to the choices; the message says why."""


@dataclass(frozen=True, eq=False)
class CumulativeLinkFit:
    """The maximum of the likelihood. Covariances are of the T thresholds and then the P coefficients, (T + P, T + P).

    ``influence`` (N, T + P) is what each rating adds to the estimates; it is None without ``groups``. Of tallied
    ratings it is of the categories, (K, T + P).
    """

    link: str
    categories: tuple[int, ...]  # those that the thresholds part, in order: T + 1
    thresholds: Floats
    coefficients: Floats
    names: tuple[str, ...]  # of the coefficients
    log_likelihood: float
    covariance: Floats  # inverse observed information
    influence: Floats | None
    groups: Groups | None
    notes: tuple[str, ...]

    @property
    def standard_errors(self) -> Floats:
        """Standard errors of thresholds and coefficients for independent ratings, (T + P,)."""
        errors: Floats = np.sqrt(np.diag(self.covariance))
        return errors

    @property
    def robust_covariance(self) -> Floats:
        """The two-way clustered covariance; NaN where the clusters do not tell it, and of tallied ratings."""
        if self.influence is None or not isinstance(self.groups, Clusters) or self.groups.reason:
            return np.full_like(self.covariance, np.nan)
        return two_way_covariance(self.influence, self.groups)

    def contrast(self, weights: ArrayLike, *, null: float = 0.0, level: float = LEVEL) -> Estimate:
        """Estimate the sum of ``weights`` (P,) times the coefficients, with clustered errors.

        Without ``groups`` the error is that of independent ratings, and the interval and test are normal ones.
        """
        chosen = np.asarray(weights, dtype=np.float64)
        if chosen.shape != self.coefficients.shape:
            raise OrdinalError(f"{len(self.coefficients)} weights are needed, not those of shape {chosen.shape}")
        padded = np.concatenate([np.zeros(len(self.thresholds)), chosen])
        value = float(chosen @ self.coefficients)
        if self.influence is not None and self.groups is not None:
            return influence_estimate(value, self.influence @ padded, self.groups, null=null, level=level)
        error = math.sqrt(float(padded @ self.covariance @ padded))
        if error == 0:
            return Estimate(value, reason="nothing is weighted")
        reach = float(stats.norm.ppf((1 + level) / 2)) * error
        return Estimate(value, error, value - reach, value + reach, 2 * float(stats.norm.sf(abs(value - null) / error)))

    def coefficient(self, name: str, *, level: float = LEVEL) -> Estimate:
        """Estimate one coefficient, and test that it is 0."""
        if name not in self.names:
            raise OrdinalError(f"{name!r} is none of the coefficients {list(self.names)}")
        return self.contrast([float(each == name) for each in self.names], level=level)

    def probabilities(self, covariates: ArrayLike) -> Floats:
        """Compute the probabilities of ``categories`` at covariates (M, P): (M, T + 1)."""
        table = np.asarray(covariates, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(self.coefficients):
            raise OrdinalError(f"covariates must be (M, {len(self.coefficients)}), not of shape {table.shape}")
        distribution = special.expit if self.link == "logit" else special.ndtr
        below = distribution(self.thresholds - (table @ self.coefficients)[:, None])
        edges = np.column_stack([np.zeros(len(table)), below, np.ones(len(table))])
        return np.diff(edges, axis=1)


def fit_cumulative_link(
    categories: ArrayLike,
    covariates: ArrayLike | None = None,
    *,
    count: int | None = None,
    symmetric: bool = False,
    link: str = "logit",
    names: Sequence[str] | None = None,
    groups: Groups | None = None,
    category_names: Sequence[str] | None = None,
) -> CumulativeLinkFit:
    """Fit to ``categories`` (N,) of 0 … count − 1 and ``covariates`` (N, P) by maximum likelihood.

    With a ``Tally`` of K categories as groups, ``categories`` and ``covariates`` are of these, (K,) and (K, P).

    ``count`` is by default one more than the highest category. With ``symmetric`` thresholds the covariates need a
    column of ones to have an intercept; without, they must have none. Notes and errors call the categories by
    ``category_names`` (count,), or else by their numbers. Raises ``OrdinalError`` for invalid tables, and if no maximum
    exists (see the module's docstring).
    """
    chosen, table = _checked(categories, covariates, count)
    times = groups.counts if isinstance(groups, Tally) else np.ones(len(chosen))
    rows = len(times) if isinstance(groups, Tally) or groups is None else groups.n
    count = int(chosen.max()) + 1 if count is None else count
    labels = tuple(f"x{i}" for i in range(table.shape[1])) if names is None else tuple(names)
    if link not in LINKS:
        raise OrdinalError(f"link {link!r} is none of {', '.join(LINKS)}")
    if len(labels) != table.shape[1]:
        raise OrdinalError(f"{len(labels)} names for {table.shape[1]} covariates")
    if category_names is not None and len(category_names) != count:
        raise OrdinalError(f"{len(category_names)} names for {count} categories")
    if rows != len(chosen):
        raise OrdinalError(f"{rows} cluster labels for {len(chosen)} ratings")
    occurs = times > 0
    if not occurs.any():
        raise OrdinalError("there are no ratings")
    chosen, table, times = chosen[occurs], table[occurs], times[occurs]
    kept, notes = _kept_categories(chosen, count, symmetric, category_names)
    basis = threshold_basis(len(kept) - 1, symmetric)  # thresholds of free parameters
    if not basis.shape[1] + table.shape[1]:
        raise OrdinalError("two categories with symmetric thresholds and no covariates leave nothing to estimate")
    patterns, pattern = _patterns(np.column_stack([np.searchsorted(kept, chosen), table]))
    weights = np.bincount(pattern, times).astype(np.float64)
    upper, lower = _edges(patterns, basis)
    _check_rank(patterns[:, 1:], labels, symmetric)
    _check_bounded(upper, lower, labels)
    start = np.concatenate([_start(chosen, times, kept, count, symmetric, link), np.zeros(table.shape[1])])
    parameters, log_likelihood, scores, information = _maximum(start, upper, lower, weights, link)
    free = basis.shape[1]
    shift = np.zeros((len(kept) - 1 + table.shape[1], len(parameters)))
    shift[: len(kept) - 1, :free], shift[len(kept) - 1 :, free:] = basis, np.eye(table.shape[1])
    inverse = np.linalg.inv(information)
    influence = np.zeros((len(occurs), len(kept) - 1 + table.shape[1]))
    influence[occurs] = (scores @ inverse @ shift.T)[pattern]
    return CumulativeLinkFit(
        link=link,
        categories=kept,
        thresholds=basis @ parameters[:free],
        coefficients=parameters[free:],
        names=labels,
        log_likelihood=log_likelihood,
        covariance=shift @ inverse @ shift.T,
        influence=None if groups is None else influence,
        groups=groups,
        notes=notes,
    )


def _checked(categories: ArrayLike, covariates: ArrayLike | None, count: int | None) -> tuple[NDArray[np.intp], Floats]:
    chosen = np.asarray(categories)
    if chosen.ndim != 1 or not len(chosen):
        raise OrdinalError(f"categories must be a list of at least one choice, not of shape {chosen.shape}")
    limit = np.inf if count is None else count
    invalid = ~((chosen >= 0) & (chosen < limit) & (chosen == np.floor(chosen)))
    if invalid.any():
        raise OrdinalError(f"category {int(invalid.argmax())} is {chosen[invalid][0]}, not one of 0 … {limit - 1}")
    table = np.empty((len(chosen), 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(chosen):
        raise OrdinalError(f"covariates must be ({len(chosen)}, P), not of shape {table.shape}")
    if not np.isfinite(table).all():
        raise OrdinalError("covariates must be finite")
    return chosen.astype(np.intp), table


def _kept_categories(
    chosen: NDArray[np.intp], count: int, symmetric: bool, names: Sequence[str] | None
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Leave out categories that no threshold can be told of: unused ones, or strengths that neither side used."""
    used = np.unique(chosen)
    if len(used) == 1:
        only = f"“{names[used[0]]}”" if names else f"category {used[0]}"
        raise OrdinalError(f"every choice is {only}: nothing tells how opinions vary")
    if symmetric:
        used = np.union1d(used, count - 1 - used)
    left_out = [f"“{names[k]}”" if names else str(k) for k in range(count) if k not in used]
    beside = "it" if len(left_out) == 1 else "them"
    notes = (f"nobody chose {', '.join(left_out)}, so the thresholds beside {beside} fall together",)
    return tuple(int(k) for k in used), notes if left_out else ()


def _patterns(rows: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Return the distinct rows, (M, ·), and of each row the number of its pattern, (N,)."""
    pattern = np.zeros(len(rows), dtype=np.intp)
    for column in rows.T:
        _, code = np.unique(column, return_inverse=True)
        _, pattern = np.unique(pattern * (code.max() + 1) + code.reshape(-1), return_inverse=True)
    _, first = np.unique(pattern, return_index=True)
    return rows[first], pattern.reshape(-1)


def _edges(patterns: Floats, basis: Floats) -> tuple[Floats, Floats]:
    """Return the designs of θ_k − x·β above and below each category, (M, parameters); NaN rows stand for ∞ and −∞."""
    rows = np.vstack([np.full(basis.shape[1], np.nan), basis, np.full(basis.shape[1], np.nan)])
    index = patterns[:, 0].astype(np.intp)
    without_threshold = np.zeros(len(basis) + 2, dtype=bool)
    without_threshold[[0, -1]] = True
    edges = []
    for position in (index + 1, index):
        design = np.column_stack([rows[position], -patterns[:, 1:]])
        design[without_threshold[position]] = np.nan
        edges.append(design)
    return edges[0], edges[1]


def _check_rank(covariates: Floats, names: tuple[str, ...], symmetric: bool) -> None:
    table = covariates if symmetric else np.column_stack([np.ones(len(covariates)), covariates])
    known = 0
    for j in range(table.shape[1]):
        rank = int(np.linalg.matrix_rank(table[:, : j + 1]))
        if rank == known:
            name = names[j if symmetric else j - 1]
            others = "the others" if symmetric else "the others and the thresholds"
            raise OrdinalError(f"covariate {name!r} cannot be told from {others}")
        known = rank


def _check_bounded(upper: Floats, lower: Floats, names: tuple[str, ...]) -> None:
    """Raise ``OrdinalError`` if the likelihood never falls along some direction (the data are separated).

    Along such a direction no upper edge falls and no lower edge rises. A linear programme finds the direction with the
    largest sum of these widths; the sum is 0 only if a maximum exists.
    """
    widths = np.vstack([upper[~np.isnan(upper).any(axis=1)], -lower[~np.isnan(lower).any(axis=1)]])
    solution = optimize.linprog(-widths.sum(axis=0), A_ub=-widths, b_ub=np.zeros(len(widths)), bounds=(-1, 1))
    if -solution.fun < 1e-7:
        return
    direction = solution.x[len(solution.x) - len(names) :]
    unbounded = [name for name, d in zip(names, direction, strict=True) if abs(d) > 1e-7]
    what = f"the size of {', '.join(map(repr, unbounded))}" if unbounded else "the thresholds"
    raise OrdinalError(f"no finite estimate exists: the choices are separated, and nothing in them bounds {what}")


def _start(
    chosen: NDArray[np.intp], times: Floats, kept: tuple[int, ...], count: int, symmetric: bool, link: str
) -> Floats:
    """Return free thresholds that give the observed shares without covariates."""
    quantile = special.logit if link == "logit" else special.ndtri
    if not symmetric:
        below = np.cumsum(np.bincount(chosen, times, minlength=count))[list(kept[:-1])]
        return np.asarray(quantile(below / times.sum()))
    strength = np.abs(2 * chosen - (count - 1))
    strengths = np.unique(np.abs(2 * np.asarray(kept) - (count - 1)))
    inner = np.cumsum(np.bincount(strength, times, minlength=count))[strengths[:-1]] / times.sum()
    free: Floats = np.asarray(quantile((1 + inner) / 2), dtype=np.float64)
    return free


def _maximum(
    start: Floats, upper: Floats, lower: Floats, weights: Floats, link: str, *, tolerance: float = 1e-10
) -> tuple[Floats, float, Floats, Floats]:
    """Maximise by Newton's method with step halving: parameters, log-likelihood, scores of patterns, information."""
    parameters = start
    value, scores, information = _likelihood(parameters, upper, lower, weights, link)
    for _ in range(100):
        gradient = weights @ scores
        step = np.linalg.solve(information, gradient)
        if gradient @ step < tolerance**2 * weights.sum():
            return parameters, value, scores, information
        size = 1.0
        while True:
            candidate = _likelihood(parameters + size * step, upper, lower, weights, link)
            # near the maximum the gain is smaller than the rounding error, and the full step is right
            if candidate[0] >= value - 1e-12 * abs(value) or size < 1e-8:
                break
            size /= 2.0
        parameters = parameters + size * step
        value, scores, information = candidate
    raise OrdinalError("the likelihood has no maximum that Newton's method finds: the choices are almost separated")


def _likelihood(
    parameters: Floats, upper: Floats, lower: Floats, weights: Floats, link: str
) -> tuple[float, Floats, Floats]:
    """Compute the log-likelihood, the score of each pattern (M, p) and the observed information (p, p).

    The log-likelihood is −∞ where thresholds do not ascend.
    """
    first, second = np.nan_to_num(upper), np.nan_to_num(lower)
    above = np.where(np.isnan(upper[:, 0]), np.inf, first @ parameters)
    below = np.where(np.isnan(lower[:, 0]), -np.inf, second @ parameters)
    if not (above > below).all():
        return -math.inf, np.zeros_like(upper), np.eye(len(parameters))
    log_chance = log_difference(above, below, link)
    (rise, bend_above, _), (fall, bend_below, _) = (densities(edge, log_chance, link) for edge in (above, below))
    scores = rise[:, None] * first - fall[:, None] * second
    information = np.einsum("m,mp,mq->pq", weights, scores, scores)
    information -= np.einsum("m,mp,mq->pq", weights * bend_above, first, first)
    information += np.einsum("m,mp,mq->pq", weights * bend_below, second, second)
    return float(weights @ log_chance), scores, information
