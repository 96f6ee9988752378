"""Compute how far evaluators agree: Krippendorff's α (2004, chapter 11), Gwet's AC2 (2014, chapters 4 and 5), repeats.

Units are what is rated, a pair of pictures by one criterion. All measures start from how often each unit received
each value, so they need neither every evaluator on every unit nor a table of evaluators.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats

from evenhand.analysis.clustered import LEVEL, Clusters, Estimate, clusters, mean_estimate, share_estimate
from evenhand.errors import InputError

Floats = NDArray[np.float64]
LEVELS = ("nominal", "ordinal", "interval", "ratio")
WEIGHTS = ("identity", "linear", "ordinal", "quadratic")
CHUNK = 20_000  # ratings at a time


class AgreementError(InputError):
    """Agreement of the ratings cannot be computed; the message says why."""


@dataclass(frozen=True, eq=False)
class UnitCounts:
    """How often each unit received each value."""

    values: Floats  # (V,) ascending: all that could be given, or all that were
    counts: Floats  # (U, V)

    @property
    def units(self) -> int:
        """Number of units with at least one rating."""
        return int((self.counts.sum(axis=1) > 0).sum())

    @property
    def rated_twice(self) -> int:
        """Number of units with at least two ratings: all that agreement is told from."""
        return int((self.counts.sum(axis=1) >= 2).sum())


def count_ratings(units: ArrayLike, ratings: ArrayLike, values: ArrayLike | None = None) -> UnitCounts:
    """Count ratings (N,) of units (N,), of the possible ``values`` or, without them, of those that occur."""
    labels, given = np.asarray(units), np.asarray(ratings, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != given.shape:
        raise AgreementError(f"units {labels.shape} and ratings {given.shape} must be two lists of one length")
    if not np.isfinite(given).all():
        raise AgreementError("ratings must be finite")
    possible = np.unique(given if values is None else np.asarray(values, dtype=np.float64))
    is_unknown = ~np.isin(given, possible)
    if is_unknown.any():
        raise AgreementError(f"rating {given[is_unknown][0]:g} is none of the possible values")
    names, unit = np.unique(labels, return_inverse=True)
    cell = unit.reshape(-1) * len(possible) + np.searchsorted(possible, given)
    counts = np.bincount(cell, minlength=len(names) * len(possible)).reshape(len(names), len(possible))
    return UnitCounts(possible, counts.astype(np.float64))


def krippendorff_alpha(ratings: ArrayLike, level: str = "ordinal") -> float:
    """Compute α of ratings (units, raters) with NaN for missing ones.

    1 is perfect agreement, 0 agreement by chance. NaN if no unit has two ratings, or if all ratings are equal (no
    disagreement is then possible). Raises ``AgreementError`` for an unknown level or infinite ratings.
    """
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2:
        raise AgreementError(f"ratings must be a (units, raters) table, not of shape {table.shape}")
    if np.isinf(table).any():
        raise AgreementError("ratings must be finite (NaN where missing)")
    units, raters = np.nonzero(~np.isnan(table))
    return alpha_of_counts(count_ratings(units, table[units, raters]), level)


def alpha_of_counts(counts: UnitCounts, level: str = "ordinal") -> float:
    """Compute Krippendorff's α as ``krippendorff_alpha`` does, from counts."""
    found: float = _alphas(coincidence_matrices(_pairable(counts, level)).sum(axis=0)[None], counts.values, level)[0]
    return float(found)


@dataclass(frozen=True)
class AlphaInterval:
    """α with its interval; ``reason`` says why there is none, and low and high are NaN then."""

    alpha: float
    low: float
    high: float
    units: int
    rated_twice: int  # units with at least two ratings
    reason: str = ""


def alpha_interval(
    units: ArrayLike,
    ratings: ArrayLike,
    evaluators: ArrayLike,
    *,
    level: str = "ordinal",
    confidence: float = LEVEL,
) -> AlphaInterval:
    """Estimate α of ratings (N,) of units by evaluators, and its interval for new units and new evaluators.

    α is computed anew without each unit, without each evaluator and without each rating; bias and variance are the sum
    of the first two jackknife ones less the third (as ``analysis.clustered`` sums ratings), the variance not below that
    of units. α falls short by a few hundredths where evaluators differ and are few, because chance is then told from
    pairs of ratings by one person too. The interval is symmetric for log(1 − α) about α less its bias, with Student's t
    of one less than the units that were rated twice, or than the evaluators if these are fewer. Where α itself lies
    outside, as it may where the bias is larger than the error, the interval is extended to it.

    ``docs/statistics.md`` says in how many simulated studies it held α. Percentiles of resampled units, which take
    evaluators as they are, held it in 88 to 95 %.
    """
    counts = count_ratings(units, ratings)
    people = np.asarray(evaluators)
    if people.shape != np.shape(ratings):
        raise AgreementError(
            f"evaluators {people.shape} and ratings {np.shape(ratings)} must be two lists of one length"
        )
    return counted_alpha_interval(
        counts,
        np.unique(np.asarray(units), return_inverse=True)[1].reshape(-1),
        np.searchsorted(counts.values, np.asarray(ratings, dtype=np.float64)),
        np.unique(people, return_inverse=True)[1].reshape(-1),
        level=level,
        confidence=confidence,
    )


def counted_alpha_interval(
    counts: UnitCounts,
    unit: NDArray[np.intp],
    value: NDArray[np.intp],
    person: NDArray[np.intp],
    *,
    level: str = "ordinal",
    confidence: float = LEVEL,
) -> AlphaInterval:
    """Estimate what ``alpha_interval`` does where the ratings are counted already.

    unit, value, person  of each rating, (N,): its row and column of ``counts``, and a number of who gave it
    """
    alpha, n = alpha_of_counts(counts, level), counts.rated_twice
    found = AlphaInterval(alpha, math.nan, math.nan, counts.units, n)
    if n < 2:
        return replace(found, reason=f"{n or 'none'} of {counts.units} units {'was' if n == 1 else 'were'} rated twice")
    if math.isnan(alpha):
        return replace(found, reason="all ratings of units that were rated twice are equal")
    if alpha >= 1:
        return replace(found, reason="all ratings of a unit are equal, so how much they vary cannot be told")
    people = len(np.unique(person))
    if people < 2:
        return replace(found, reason="all ratings are of one evaluator: how much evaluators differ cannot be told")
    bias, variance = _jackknife(counts, unit, value, person, level)
    if not variance > 0:
        return replace(found, reason="one unit alone tells of disagreement")
    # a correction beyond half of what is left to 1 would say more than the ratings do
    centre = min(alpha - bias, (1 + alpha) / 2)
    freedom = min(n, people) - 1
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(variance) / (1 - centre)
    low, high = 1 - (1 - centre) * math.exp(reach), 1 - (1 - centre) * math.exp(-reach)
    return replace(found, low=min(low, alpha), high=max(high, alpha))


def _jackknife(
    counts: UnitCounts, unit: NDArray[np.intp], value: NDArray[np.intp], person: NDArray[np.intp], level: str
) -> tuple[float, float]:
    """Bias and variance of α for new units and evaluators; NaN if α is undefined without one of them."""
    size, values = counts.counts.shape
    pairs = coincidence_matrices(counts.counts)
    total = pairs.sum(axis=0)
    alpha = float(_alphas(total[None], counts.values, level)[0])
    # without one rating: every rating of one value of one unit is alike
    unit_of, value_of = np.nonzero(counts.counts)
    without = pairs[unit_of] - coincidence_matrices(counts.counts[unit_of] - np.eye(values)[value_of])
    times = counts.counts[unit_of, value_of]
    by_rating = _spread(_alphas(total - without, counts.values, level), alpha, times)
    by_unit = _spread(_alphas(total - pairs, counts.values, level)[counts.counts.sum(axis=1) >= 2], alpha)
    people = int(person.max()) + 1
    cell = person * size + unit
    order = np.sort(cell)
    if (order[1:] == order[:-1]).any():
        changes = changes_by_person(counts, pairs, cell, value, people)
    else:  # nobody rated a unit twice: a person takes away what each of their ratings does
        place = np.zeros(counts.counts.shape, dtype=np.intp)
        place[unit_of, value_of] = np.arange(len(unit_of))
        given = sparse.csr_array((np.ones(len(unit)), (person, place[unit, value])), shape=(people, len(unit_of)))
        changes = (given @ without.reshape(len(unit_of), -1)).reshape(people, values, values)
    left = changes[np.bincount(person, minlength=people) > 0]
    by_person = _spread(_alphas(total - left, counts.values, level), alpha)
    bias, variance = (one + other - both for one, other, both in zip(by_unit, by_person, by_rating, strict=True))
    return bias, max(variance, by_unit[1])


def changes_by_person(
    counts: UnitCounts, pairs: Floats, cell: NDArray[np.intp], value: NDArray[np.intp], people: int
) -> Floats:
    """Return by how much the coincidences fall without each person, (E, V, V); cells are person · U + unit."""
    size, values = counts.counts.shape
    changes = np.zeros((people, values, values))
    cells, index = np.unique(cell, return_inverse=True)
    given = np.bincount(index.reshape(-1) * values + value, minlength=len(cells) * values).reshape(len(cells), values)
    for start in range(0, len(cells), CHUNK):
        of_unit, of_person = cells[start : start + CHUNK] % size, cells[start : start + CHUNK] // size
        left = counts.counts[of_unit] - given[start : start + CHUNK]
        np.add.at(changes, of_person, pairs[of_unit] - coincidence_matrices(left))
    return changes


def _spread(alphas: Floats, alpha: float, times: Floats | None = None) -> tuple[float, float]:
    """Jackknife bias and variance of α, from what is found without one of n, (n,) or fewer that occur ``times``."""
    weights = np.ones(len(alphas)) if times is None else times
    n = float(weights.sum())
    if np.isnan(alphas).any() or n < 2:
        return math.nan, math.nan
    mean = float(weights @ alphas) / n
    return (n - 1) * (mean - alpha), (n - 1) / n * float(weights @ (alphas - mean) ** 2)


def _pairable(counts: UnitCounts, level: str) -> Floats:
    if level not in LEVELS:
        raise AgreementError(f"level {level!r} is none of {', '.join(LEVELS)}")
    pairable: Floats = counts.counts[counts.counts.sum(axis=1) >= 2]
    return pairable


def coincidence_matrices(counts: Floats) -> Floats:
    """Count pairs of values within each unit, (U, V, V), a unit of m ratings weighted by 1/(m−1), or 0 if m < 2."""
    weighted = counts / np.maximum(counts.sum(axis=1, keepdims=True) - 1.0, 1.0)
    pairs: Floats = counts[:, :, None] * weighted[:, None, :]
    diagonal = np.arange(counts.shape[1])
    pairs[:, diagonal, diagonal] -= weighted
    return pairs


def _alphas(coincidences: Floats, values: Floats, level: str) -> Floats:
    """Compute α of each sum of coincidences (B, V, V), (B,); NaN where fewer than two values occur."""
    totals = coincidences.sum(axis=1)
    n = totals.sum(axis=1)
    distance = _distance(values, totals, level)
    observed = (coincidences * distance).sum(axis=(1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * distance).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        alphas: Floats = np.where((totals > 0).sum(axis=1) >= 2, 1.0 - (n - 1) * observed / expected, np.nan)
    return alphas


def _distance(values: Floats, totals: Floats, level: str) -> Floats:
    """Compute squared differences of values at a level of measurement, (B or 1, V, V), of totals (B, V)."""
    if level == "nominal":
        return 1.0 - np.eye(len(values))[None]
    difference = values[:, None] - values[None, :]
    if level == "interval":
        return difference[None] ** 2
    if level == "ratio":
        total = values[:, None] + values[None, :]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total == 0, 0.0, difference / total)[None] ** 2
    mid_ranks = np.cumsum(totals, axis=1) - totals / 2.0  # Σ_{g=c}^{k} n_g − (n_c + n_k)/2 is their difference
    squares: Floats = (mid_ranks[:, :, None] - mid_ranks[:, None, :]) ** 2
    return squares


def percent_agreement(counts: UnitCounts, weights: str = "identity") -> float:
    """Compute the mean over units of the share of pairs of ratings that agree, 0 … 1; NaN if no unit has two.

    With weights other than ``identity``, pairs that nearly agree count in part (see ``agreement_weights``).
    """
    counted = counts.counts[counts.counts.sum(axis=1) >= 2]
    if not len(counted):
        return math.nan
    sizes = counted.sum(axis=1)
    near = counted @ agreement_weights(counts.values, weights)
    return float(((counted * (near - 1)).sum(axis=1) / (sizes * (sizes - 1))).mean())


def gwet_ac2(counts: UnitCounts, weights: str = "ordinal") -> float:
    """Compute Gwet's AC2, agreement beyond chance where chance is what raters guess of hard units (Gwet 2014).

    ``counts.values`` must be all values that could be given. With weights ``identity`` it is AC1. NaN if no unit has
    two ratings, or fewer than two values are possible.
    """
    table = agreement_weights(counts.values, weights)
    agreed, q = percent_agreement(counts, weights), len(counts.values)
    if math.isnan(agreed) or q < 2:
        return math.nan
    rated = counts.counts[counts.counts.sum(axis=1) > 0]
    shares = (rated / rated.sum(axis=1, keepdims=True)).mean(axis=0)
    chance = float(table.sum() / (q * (q - 1)) * (shares * (1 - shares)).sum())
    return (agreed - chance) / (1 - chance)


def agreement_weights(values: ArrayLike, weights: str) -> Floats:
    """Return how far two values agree, (V, V), 1 on the diagonal and 0 for the ends (Gwet 2014, section 3.5).

    ``ordinal`` counts the values between them, 1 − C(|k − l| + 1, 2) / C(V, 2); ``linear`` and ``quadratic`` measure
    their distance.
    """
    if weights not in WEIGHTS:
        raise AgreementError(f"weights {weights!r} are none of {', '.join(WEIGHTS)}")
    scale = np.asarray(values, dtype=np.float64)
    if weights == "identity" or len(scale) < 2:
        return np.eye(len(scale))
    if weights == "ordinal":
        apart = np.abs(np.subtract.outer(np.arange(len(scale)), np.arange(len(scale))))
        return np.asarray(1.0 - apart * (apart + 1) / (len(scale) * (len(scale) - 1)))
    distance = np.abs(np.subtract.outer(scale, scale)) / np.ptp(scale)
    return np.asarray(1.0 - distance ** (2 if weights == "quadratic" else 1))


@dataclass(frozen=True)
class Consistency:
    """How far people repeat their own answers to the same pair."""

    repeats: int
    same_side: Estimate  # share of repeats with the same sign: the same side, or twice no preference
    difference: Estimate  # mean absolute difference, 0 … 4


def consistency(first: ArrayLike, second: ArrayLike, groups: Clusters, *, level: float = LEVEL) -> Consistency:
    """Compare first and second preferences −2 … 2 of the same pairs by the same people, (N,)."""
    one, other = (np.asarray(each, dtype=np.float64) for each in (first, second))
    if not one.shape == other.shape == groups.evaluator.shape:
        raise AgreementError(f"first {one.shape}, second {other.shape} and {len(groups.evaluator)} labels must match")
    same = np.sign(one) == np.sign(other)
    found = mean_estimate(np.abs(one - other), groups, level=level)
    low, high = (value if math.isnan(value) else min(max(value, 0.0), 4.0) for value in (found.low, found.high))
    return Consistency(len(one), share_estimate(same, groups, level=level), replace(found, low=low, high=high))


def pass_rate(passed: int, total: int, *, level: float = LEVEL) -> Estimate:
    """Estimate the share of attention checks that one person passed, by Wilson's interval (1927).

    Checks of several people are not independent: ``study_pass_rate``.
    """
    if not 0 <= passed <= total:
        raise AgreementError(f"{passed} checks of {total} cannot have been passed")
    if not total:
        return Estimate(math.nan, reason="there are no checks")
    z, share = float(stats.norm.ppf((1 + level) / 2)), passed / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    low, high = (0.0 if passed == 0 else centre - reach), (1.0 if passed == total else centre + reach)
    return Estimate(share, math.sqrt(share * (1 - share) / total), low, high)


def study_pass_rate(passed: ArrayLike, checks: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """Estimate the share of attention checks that people pass, from how many each passed, (E,), of how many, (E,).

    Checks are clustered by evaluator, since who fails one fails others too. With one evaluator it is ``pass_rate``.
    """
    hits, given = (np.asarray(each, dtype=np.intp) for each in (passed, checks))
    if hits.ndim != 1 or hits.shape != given.shape or (hits < 0).any() or (hits > given).any():
        raise AgreementError(f"checks passed {hits.tolist()} of {given.tolist()} are no numbers of the same people")
    if (given > 0).sum() < 2:
        return pass_rate(int(hits.sum()), int(given.sum()), level=level)
    person = np.repeat(np.arange(len(given)), given)
    place = np.arange(len(person)) - np.repeat(np.cumsum(given) - given, given)
    return share_estimate(place < hits[person], clusters(person, np.arange(len(person))), level=level)
