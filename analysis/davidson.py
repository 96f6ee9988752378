"""Fit Davidson's model of paired comparisons with ties (Davidson 1970).

Each item has a strength π, and one parameter ν governs ties:
``P(i beats j) = π_i / (π_i + π_j + ν √(π_i π_j))``, ``P(tie) = ν √(π_i π_j) / (…)``, with θ = log π. The log-likelihood
is concave in (θ, log ν), so Newton's method with step halving finds its only maximum, if it has one.

Degenerate data:

- no comparisons, or items that no chain of comparisons connects: ``DavidsonError``, as their contrast is undefined;
- no ties: log ν is −∞ and the strengths are those of the Bradley-Terry model, the limit of the likelihood;
- only ties, or items whose lead the data do not bound (for example one that never lost): ``DavidsonError`` that names
  them, as the likelihood has no maximum. An item that never lost may still have a finite strength: its ties bound it,
  if losses of other pairs bound ν. A linear programme therefore decides exactly whether a maximum exists.

Comparisons of one evaluator, or of one prompt, are correlated. ``fit_comparisons`` takes them one by one and gives the
errors of the two-way clustered sandwich (``analysis.clustered``).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, sparse

from evenhand.analysis.clustered import LEVEL, Clusters, Estimate, Groups, influence_estimate, two_way_covariance
from evenhand.analysis.tallies import Tally
from evenhand.errors import InputError

Floats = NDArray[np.float64]


class DavidsonError(InputError):
    """The model cannot be fitted to the comparisons; the message says why."""


@dataclass(frozen=True, eq=False)
class DavidsonFit:
    """The maximum of the likelihood. ``covariance`` (k+1, k+1) is of strengths and log ν; zero for the reference."""

    items: tuple[Any, ...]
    reference: Any  # the item whose strength is 0
    strengths: Floats  # (k,) θ in the order of the items
    log_nu: float
    log_likelihood: float  # without the multinomial constant
    covariance: Floats
    comparisons: float

    @property
    def standard_errors(self) -> Floats:
        """Standard errors of the strengths, (k,); 0 for the reference."""
        errors: Floats = np.sqrt(np.diag(self.covariance)[:-1])
        return errors

    @property
    def log_nu_standard_error(self) -> float:
        """Standard error of log ν; NaN if log ν is −∞."""
        return float(np.sqrt(self.covariance[-1, -1]))

    def relative_to(self, item: Any) -> DavidsonFit:
        """Return the same fit with another item as the reference."""
        index = _index(self.items, item)
        shift = np.eye(len(self.items) + 1)
        shift[:-1, index] -= 1.0
        finite_covariance = np.where(np.isnan(self.covariance), 0.0, self.covariance)
        covariance = np.where(np.isnan(self.covariance), np.nan, shift @ finite_covariance @ shift.T)
        return replace(self, reference=item, strengths=self.strengths - self.strengths[index], covariance=covariance)

    def probabilities(self, item: Any, other: Any) -> tuple[float, float, float]:
        """Compute the probabilities that ``item`` wins, ties with and loses to ``other``."""
        first, second = (self.strengths[_index(self.items, each)] for each in (item, other))
        logits = np.array([first, self.log_nu + (first + second) / 2.0, second])
        win, tie, loss = np.exp(logits - np.logaddexp.reduce(logits))
        return (float(win), float(tie), float(loss))


def fit_davidson(
    items: Sequence[Hashable], wins: ArrayLike, ties: ArrayLike, *, reference: Hashable | None = None
) -> DavidsonFit:
    """Fit by maximum likelihood to ``wins`` (k, k), row over column, and symmetric ``ties`` (k, k).

    Strengths are relative to ``reference``, by default the last item. Counts may be weights, so they need not be whole.
    Raises ``DavidsonError`` for invalid tables, and if no maximum exists (see the module's docstring).
    """
    names = tuple(items)
    win_counts, tie_counts = _checked(names, wins, ties)
    anchor = _index(names, names[-1] if reference is None else reference)
    _check_connected(names, win_counts + win_counts.T + tie_counts)
    with_ties = bool(tie_counts.any())
    counts, design = _outcomes(win_counts, tie_counts, anchor, with_ties)
    _check_bounded(names, counts, design, anchor)
    parameters, log_likelihood, information = _maximum(counts, design)
    strengths = np.insert(parameters[: len(names) - 1], anchor, 0.0)
    free_indices = [i for i in range(len(names)) if i != anchor] + ([len(names)] if with_ties else [])
    covariance = np.zeros((len(names) + 1, len(names) + 1))
    covariance[np.ix_(free_indices, free_indices)] = np.linalg.inv(information)
    if not with_ties:
        covariance[-1, :] = covariance[:, -1] = np.nan
    return DavidsonFit(
        items=names,
        reference=names[anchor],
        strengths=strengths,
        log_nu=float(parameters[-1]) if with_ties else -np.inf,
        log_likelihood=log_likelihood,
        covariance=covariance,
        comparisons=float(counts.sum()),
    )


@dataclass(frozen=True, eq=False)
class ClusteredDavidsonFit:
    """A fit with errors that know of evaluators and prompts.

    ``influence`` (N, k + 1) is what each comparison adds to the strengths and to log ν; 0 for the reference, and for
    log ν where there are no ties. Of tallied comparisons it is of the categories, (K, k + 1).
    """

    fit: DavidsonFit
    influence: Floats
    groups: Groups

    @property
    def robust_covariance(self) -> Floats:
        """The two-way clustered covariance of strengths and log ν, (k+1, k+1); NaN where nothing tells it.

        A tally tells it of differences alone: ``difference`` and ``above_average``.
        """
        covariance = np.full_like(self.fit.covariance, np.nan)
        if not self.groups.reason and isinstance(self.groups, Clusters):
            covariance = two_way_covariance(self.influence, self.groups)
        if np.isneginf(self.fit.log_nu):
            covariance[-1, :] = covariance[:, -1] = np.nan
        return covariance

    def difference(self, item: Any, other: Any, *, level: float = LEVEL) -> Estimate:
        """Estimate how much stronger ``item`` is than ``other`` (θ, on the log scale), and test that they are equal."""
        first, second = (_index(self.fit.items, each) for each in (item, other))
        if first == second:
            raise DavidsonError(f"{item!r} is compared with itself")
        value = float(self.fit.strengths[first] - self.fit.strengths[second])
        return influence_estimate(value, self.influence[:, first] - self.influence[:, second], self.groups, level=level)

    def above_average(self, item: Any, *, level: float = LEVEL) -> Estimate:
        """Estimate how much stronger ``item`` is than the mean of all items, whichever the reference is."""
        index = _index(self.fit.items, item)
        value = float(self.fit.strengths[index] - self.fit.strengths.mean())
        added = self.influence[:, index] - self.influence[:, :-1].mean(axis=1)
        return influence_estimate(value, added, self.groups, level=level)


def fit_comparisons(
    first: ArrayLike,
    second: ArrayLike,
    preference: ArrayLike,
    groups: Clusters,
    *,
    items: Sequence[Hashable] | None = None,
    reference: Hashable | None = None,
) -> ClusteredDavidsonFit:
    """Fit to N comparisons of ``first`` with ``second``, numbers of ``items`` from 0, each (N,).

    ``preference`` (N,) is above 0 where the first won, below 0 where the second did, and 0 for a tie: how much better
    a winner was is not used. ``items`` are by default the numbers themselves. Raises ``DavidsonError`` as
    ``fit_davidson`` does, and for numbers of no item.
    """
    one, other = (np.asarray(each) for each in (first, second))
    signs = np.sign(np.asarray(preference, dtype=np.float64))
    if one.ndim != 1 or not one.shape == other.shape == signs.shape == groups.evaluator.shape:
        shapes = ", ".join(str(each.shape) for each in (one, other, signs, groups.evaluator))
        raise DavidsonError(f"first, second, preference and groups must be lists of one length, not {shapes}")
    if not np.isfinite(signs).all():
        raise DavidsonError("every comparison needs a preference")
    numbers = np.concatenate([one, other])
    names = tuple(range(int(numbers.max()) + 1 if len(numbers) else 2)) if items is None else tuple(items)
    invalid = ~np.isin(numbers, np.arange(len(names)))
    if invalid.any():
        raise DavidsonError(f"{numbers[invalid][0]} is the number of no item; there are {len(names)}")
    one, other = one.astype(np.intp), other.astype(np.intp)
    wins, ties = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    winner, loser = np.where(signs > 0, one, other), np.where(signs > 0, other, one)
    np.add.at(wins, (winner[signs != 0], loser[signs != 0]), 1.0)
    np.add.at(ties, (one[signs == 0], other[signs == 0]), 1.0)
    fit = fit_davidson(names, wins, ties + ties.T, reference=reference)
    return ClusteredDavidsonFit(fit, _influence(fit, one, other, signs), groups)


def fit_tallied(
    first: ArrayLike, second: ArrayLike, preference: ArrayLike, groups: Tally, *, items: Sequence[Hashable]
) -> ClusteredDavidsonFit:
    """Fit as ``fit_comparisons`` does to comparisons counted by K categories.

    A category says which items were compared, numbers of ``items``, and which won, as ``preference`` there, each (K,).
    """
    one, other = (np.asarray(each, dtype=np.intp) for each in (first, second))
    signs = np.sign(np.asarray(preference, dtype=np.float64))
    wins, ties = np.zeros((len(items), len(items))), np.zeros((len(items), len(items)))
    winner, loser = np.where(signs > 0, one, other), np.where(signs > 0, other, one)
    decided = signs != 0
    np.add.at(wins, (winner[decided], loser[decided]), groups.counts[decided])
    np.add.at(ties, (one[~decided], other[~decided]), groups.counts[~decided])
    fit = fit_davidson(items, wins, ties + ties.T)
    return ClusteredDavidsonFit(fit, _influence(fit, one, other, signs), groups)


def _influence(fit: DavidsonFit, first: NDArray[np.intp], second: NDArray[np.intp], signs: Floats) -> Floats:
    """Return the inverse information times the score of each comparison, (N, k + 1)."""
    lead = fit.strengths[first] - fit.strengths[second]
    logits = np.column_stack([lead / 2, np.full(len(lead), fit.log_nu), -lead / 2])
    win, tie, loss = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).T
    scores = np.zeros((len(lead), len(fit.items) + 1))
    rows = np.arange(len(lead))
    scores[rows, first] = (signs > 0) - win + ((signs == 0) - tie) / 2
    scores[rows, second] = (signs < 0) - loss + ((signs == 0) - tie) / 2
    scores[:, -1] = (signs == 0) - tie
    influence: Floats = scores @ np.nan_to_num(fit.covariance)
    return influence


def _checked(items: tuple[Hashable, ...], wins: ArrayLike, ties: ArrayLike) -> tuple[Floats, Floats]:
    if len(items) < 2 or len(set(items)) < len(items):
        raise DavidsonError(f"at least two items are needed, and all must differ: {list(items)}")
    tables = []
    for name, table in (("wins", wins), ("ties", ties)):
        array = np.asarray(table, dtype=np.float64)
        if array.shape != (len(items), len(items)):
            raise DavidsonError(f"{name} must be a table of {len(items)} × {len(items)}, not of shape {array.shape}")
        bad_positions = np.argwhere(~(np.isfinite(array) & (array >= 0)))
        if len(bad_positions):
            i, j = bad_positions[0]
            raise DavidsonError(f"{name} of {items[i]!r} and {items[j]!r} must be a count, not {array[i, j]}")
        if np.diag(array).any():
            raise DavidsonError(f"{name}: {items[int(np.diag(array).argmax())]!r} is compared with itself")
        tables.append(array)
    if not np.array_equal(tables[1], tables[1].T):
        i, j = np.argwhere(tables[1] != tables[1].T)[0]
        raise DavidsonError(f"ties must be symmetric; those of {items[i]!r} and {items[j]!r} differ both ways")
    return tables[0], tables[1]


def _index(items: tuple[Hashable, ...], item: Hashable) -> int:
    if item not in items:
        raise DavidsonError(f"{item!r} is none of the items {list(items)}")
    return items.index(item)


def _check_connected(items: tuple[Hashable, ...], comparison_counts: Floats) -> None:
    if not comparison_counts.any():
        raise DavidsonError("there are no comparisons")
    groups, label = sparse.csgraph.connected_components(sparse.csr_array(comparison_counts), directed=False)
    if groups > 1:
        first_group = [item for item, group in zip(items, label, strict=True) if group == label[0]]
        other_items = [item for item, group in zip(items, label, strict=True) if group != label[0]]
        raise DavidsonError(f"no chain of comparisons connects {_joined(first_group)} with {_joined(other_items)}")


def _outcomes(win_counts: Floats, tie_counts: Floats, anchor: int, with_ties: bool) -> tuple[Floats, Floats]:
    """Return outcome counts of the compared pairs, (m, 3), and the design of their logits (m, 3, p); 2 if no ties."""
    k = len(win_counts)
    first, second = np.nonzero(np.triu(win_counts + win_counts.T + tie_counts))
    counts = np.column_stack([win_counts[first, second], win_counts[second, first], tie_counts[first, second]])
    design = np.zeros((len(first), 3, k + 1))
    rows = np.arange(len(first))
    design[rows, 0, first] = design[rows, 1, second] = design[rows, 2, k] = 1.0
    design[rows, 2, first] = design[rows, 2, second] = 0.5
    design = np.delete(design, anchor, axis=2)
    return (counts, design) if with_ties else (counts[:, :2], design[:, :2, :-1])


def _check_bounded(items: tuple[Hashable, ...], counts: Floats, design: Floats, anchor: int) -> None:
    """Raise ``DavidsonError`` if the likelihood never falls along some direction (the data are separated).

    Along such a direction no logit of a pair grows faster than the logit of any observed outcome. A linear programme
    finds the direction with the largest sum of these leads; the sum is 0 only if a maximum exists.
    """
    pairs, outcomes = np.nonzero(counts)
    leads = np.concatenate([design[pairs, outcomes] - design[pairs, other] for other in range(counts.shape[1])])
    solution = optimize.linprog(-leads.sum(axis=0), A_ub=-leads, b_ub=np.zeros(len(leads)), bounds=(-1, 1))
    if -solution.fun < 1e-7:
        return
    if not counts[:, :2].any():
        raise DavidsonError("every comparison is a tie: nothing bounds ν, and the strengths cannot be told apart")
    direction = np.insert(solution.x[: len(items) - 1], anchor, 0.0)
    leaders = [item for item, d in zip(items, direction, strict=True) if d > direction.max() - 1e-7]
    other_items = [item for item, d in zip(items, direction, strict=True) if d <= direction.max() - 1e-7]
    lead = f"the lead of {_joined(leaders)} over {_joined(other_items)}"
    raise DavidsonError(f"no finite estimate exists: nothing in the data bounds {lead}")


def _joined(items: Sequence[Hashable]) -> str:
    return ", ".join(repr(item) for item in items)


def _maximum(counts: Floats, design: Floats, *, tolerance: float = 1e-10) -> tuple[Floats, float, Floats]:
    """Maximise by Newton's method with step halving: parameters (p,), log-likelihood, information (p, p)."""
    parameters = np.zeros(design.shape[2])
    value, gradient, information = _likelihood(parameters, counts, design)
    for _ in range(200):
        step = np.linalg.solve(information, gradient)
        if gradient @ step < tolerance**2 * max(1.0, counts.sum()):
            return parameters, value, information
        size = 1.0
        while True:
            candidate = _likelihood(parameters + size * step, counts, design)
            # near the maximum the gain is smaller than the rounding error, and the full step is right
            if candidate[0] >= value - 1e-12 * abs(value) or size < 1e-8:
                break
            size /= 2.0
        parameters = parameters + size * step
        value, gradient, information = candidate
    raise DavidsonError("the likelihood has no maximum that Newton's method finds: the data are almost separated")


def _likelihood(parameters: Floats, counts: Floats, design: Floats) -> tuple[float, Floats, Floats]:
    """Compute the log-likelihood, its gradient and the information (the negative Hessian)."""
    logits = design @ parameters  # (m, outcomes)
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    chances, totals = np.exp(logs), counts.sum(axis=1)
    gradient = np.einsum("mo,mop->p", counts - totals[:, None] * chances, design)
    centred = design - np.einsum("mo,mop->mp", chances, design)[:, None, :]
    information = np.einsum("m,mo,mop,moq->pq", totals, chances, centred, centred, optimize=True)
    return float((counts * logs).sum()), gradient, information
