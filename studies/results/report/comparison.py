"""Compute the statistics of one comparison by one criterion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenhand.analysis.agreement import UnitCounts, counted_alpha_interval, gwet_ac2, percent_agreement
from evenhand.analysis.clustered import Clusters, Estimate
from evenhand.analysis.crossed import fit_crossed_link
from evenhand.analysis.decisions import equivalence, tallied_side_bias, win_share
from evenhand.analysis.monitoring import sequence_interval
from evenhand.analysis.ordinal import OrdinalError, fit_cumulative_link
from evenhand.analysis.planning import POWER
from evenhand.analysis.power import detectable_by_counts, detectable_by_study
from evenhand.analysis.preference import CATEGORIES, PreferenceShares, tallied_estimates
from evenhand.analysis.tallies import Tally
from evenhand.analysis.variance import tallied_components, variance_components
from evenhand.studies.results.flags import FAST_MS
from evenhand.studies.results.report.ratings import SCALE, TO_CHOICE, TO_PREFERENCE, TO_SIDED, Counts, Ratings
from evenhand.studies.results.report.wording import answers_in_words

Floats = NDArray[np.float64]
MOST_CROSSED = 2000  # ratings, of which random effects are fitted in a quarter of a second


@dataclass(frozen=True)
class Options:
    """What statistics depend on beside the ratings."""

    interim: bool  # more ratings may come: p-values are withheld
    strata: Sequence[str]
    margin: float | None  # of equivalence, points of net share
    planned: int  # evaluators that the study wanted before anybody answered
    crossed: bool = True  # random effects too
    answers: tuple[str, ...] = answers_in_words()  # what notes call the five preferences


def comparison_result(part: Ratings, options: Options) -> dict[str, Any]:
    """Return what is told of a comparison's ratings by one criterion; ``part`` holds those that are left out, too."""
    ratings = part.where(part.counts)
    counted = ratings.counted()
    groups = counted.mapped(TO_PREFERENCE)
    estimates = tallied_estimates(groups)
    net, mean = estimates["net"], estimates["mean"]
    sides = tallied_side_bias(counted.mapped(TO_CHOICE), counted.mapped(TO_SIDED))
    return {
        **shares(groups),
        "both_bad": {"n": int(ratings.both_bad.sum()), "share": _share(ratings.both_bad)},
        "pairs": groups.prompts,
        "evaluators": groups.evaluators,
        "intervals": {name: interval(each, options.interim) for name, each in estimates.items()},
        "no_interval": estimates["candidate"].reason,
        "net_share": interval(net, options.interim),
        "mean_preference": interval(mean, options.interim),
        "win_share": interval(win_share(SCALE, groups), options.interim),
        "equivalence": _equivalence(net, options),
        "detectable": _detectable(ratings, counted),
        "sequence": _sequence(net, groups.evaluators, options),
        "side_bias": {
            "mean": interval(sides.mean, options.interim),
            "right": interval(sides.right, options.interim),
            "n": sides.sided,
        },
        "strata": _strata(ratings, options),
        "sensitivity": sensitivity(part, groups, estimates, options),
        **_agreement(ratings, counted.by_prompt @ TO_PREFERENCE),
        "time": times(ratings.elapsed_ms),
        "variance": _variance(ratings, counted),
        "cumulative_link": _cumulative_link(groups, options),
        "crossed_link": _crossed_link(ratings, options) if options.crossed else None,
    }


def interval(estimate: Estimate, interim: bool) -> dict[str, Any]:
    """Return an estimate; without its p-value while more ratings may come, because looking often finds anything."""
    return {
        "estimate": estimate.estimate,
        "low": estimate.low,
        "high": estimate.high,
        "standard_error": estimate.standard_error if not estimate.reason else math.nan,
        "p": math.nan if interim else estimate.p,
        "degrees_of_freedom": estimate.degrees_of_freedom,
        "reason": estimate.reason,
    }


def shares(groups: Tally) -> dict[str, Any]:
    """Return counts and shares of the five preferences."""
    preferences = PreferenceShares(tuple(int(count) for count in groups.counts))  # type: ignore[arg-type]
    baseline_strong, baseline_slight, none, candidate_slight, candidate_strong = preferences.shares.tolist()
    return {
        "n": preferences.n,
        "counts": dict(zip(CATEGORIES, preferences.counts, strict=True)),
        "shares": dict(zip(CATEGORIES, preferences.shares.tolist(), strict=True)),
        "candidate_share": preferences.candidate,
        "baseline_share": preferences.baseline,
        "none_share": none,
        "strong": {"candidate": candidate_strong, "baseline": baseline_strong},
        "slight": {"candidate": candidate_slight, "baseline": baseline_slight},
    }


def _strata(ratings: Ratings, options: Options) -> dict[str, Any]:
    """Return each stratum's shares, and the intervals of the sides and of the net share."""
    found = {}
    for number, name in enumerate(options.strata):
        groups = ratings.where(ratings.stratum == number).tally()
        estimates = tallied_estimates(groups)
        found[name] = {
            **shares(groups),
            "intervals": {
                side: interval(estimates[side], options.interim) for side in ("baseline", "candidate", "net", "mean")
            },
            "no_interval": estimates["candidate"].reason,
        }
    return found


def sensitivity(
    part: Ratings, groups: Tally, estimates: Mapping[str, Estimate], options: Options
) -> dict[str, dict[str, Any]]:
    """Return the headline as it is reported, with those that were left out, and without flagged answers and people."""
    masks = {
        "with_unusable_pairs": part.counts | part.for_pair,
        "with_excluded": np.ones(len(part), np.bool_),
        "without_flagged": part.counts & ~part.flagged,
        "without_failed_checks": part.counts & ~part.failed_check,
    }
    found = {"as_reported": _headline(groups, estimates, options)}
    for name, mask in masks.items():
        same = np.array_equal(mask, part.counts)
        other = groups if same else part.where(mask).tally()
        found[name] = _headline(other, estimates if same else tallied_estimates(other), options)
    return found


def _headline(groups: Tally, estimates: Mapping[str, Estimate], options: Options) -> dict[str, Any]:
    told = shares(groups)
    return {
        "n": groups.n,
        "evaluators": groups.evaluators,
        **{name: told[name] for name in ("candidate_share", "baseline_share", "none_share")},
        "net_share": interval(estimates["net"], options.interim),
    }


def _equivalence(net: Estimate, options: Options) -> dict[str, Any] | None:
    """Test that the net share lies within the margin of the plan; None where none was set before opening."""
    if options.margin is None:
        return None
    found = equivalence(net, options.margin / 100)
    withheld = options.interim or bool(found.reason)
    return {
        "margin": options.margin / 100,
        "low": found.low,
        "high": found.high,
        "p": math.nan if withheld else found.p,
        "is_equivalent": None if withheld else found.is_equivalent,
        "reason": found.reason,
    }


def _detectable(ratings: Ratings, counted: Counts) -> dict[str, Any]:
    """Return the net share, 0 … 1, that a study like this one finds with a power of 80 %, or why there is none."""
    if ratings.once:
        found = detectable_by_counts(
            counted.by_evaluator @ TO_PREFERENCE, counted.by_prompt @ TO_PREFERENCE, power=POWER
        )
    else:
        found = detectable_by_study(ratings.preference, clusters_of(ratings), power=POWER)
    return {"net_share": found.value, "power": POWER, "reason": found.reason}


def _sequence(net: Estimate, evaluators: int, options: Options) -> dict[str, Any]:
    """Return the interval of the net share that holds at every look; in closed studies, too, that were ended by it."""
    found = net if net.reason else sequence_interval(net, evaluators, planned=options.planned)
    return interval(found, interim=True) | {"planned": options.planned}


def _agreement(ratings: Ratings, by_prompt: Floats) -> dict[str, Any]:
    """Return how far evaluators agree; the units are pairs, of which a comparison has one a prompt."""
    rated = by_prompt.sum(axis=1) > 0
    place = np.cumsum(rated) - 1
    units = UnitCounts(SCALE.astype(np.float64), by_prompt[rated])
    if not len(ratings):
        nothing = dict.fromkeys(("low", "high", "percent", "percent_side", "ac2"), math.nan)
        told = {"alpha": math.nan, **nothing, "units": 0, "rated_twice": 0, "reason": "there are no ratings"}
        return {"alpha": math.nan, "agreement": told}
    found = counted_alpha_interval(
        units, place[ratings.prompt], ratings.preference.astype(np.intp) + 2, ratings.evaluator
    )
    sides = by_prompt[rated] @ np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1.0]])
    told = {
        "alpha": found.alpha,
        "low": found.low,
        "high": found.high,
        "units": found.units,
        "rated_twice": found.rated_twice,
        "percent": percent_agreement(units),
        "percent_side": percent_agreement(UnitCounts(np.arange(-1.0, 2.0), sides)),
        "ac2": gwet_ac2(units),
        "reason": found.reason,
    }
    return {"alpha": found.alpha, "agreement": told}


def times(elapsed_ms: Floats) -> dict[str, Any]:
    """Return median and quartiles of the times to an answer, and how many were too fast to have been seen."""
    known = elapsed_ms[~np.isnan(elapsed_ms)]
    low, median, high = np.percentile(known, (25, 50, 75)).tolist() if len(known) else [math.nan] * 3
    return {
        "n": len(known),
        "unknown": len(elapsed_ms) - len(known),
        "low_quartile_ms": low,
        "median_ms": median,
        "high_quartile_ms": high,
        "mean_ms": float(known.mean()) if len(known) else math.nan,
        "fast_ms": FAST_MS,
        "fast_share": _share(known < FAST_MS),
    }


def _share(mask: NDArray[np.bool_]) -> float:
    return float(mask.mean()) if len(mask) else math.nan


def clusters_of(ratings: Ratings) -> Clusters:
    """Number the evaluators and prompts of these ratings from 0, without gaps."""
    numbered = []
    for index in (ratings.evaluator, ratings.prompt):
        present = np.bincount(index) > 0 if len(index) else np.zeros(0, np.bool_)
        numbered.append((np.cumsum(present)[index] - 1 if len(index) else index, int(present.sum())))
    (evaluator, evaluators), (prompt, prompts) = numbered
    found = Clusters(evaluator, prompt, evaluators, prompts)
    if ratings.once:
        vars(found)["rated_once"] = True  # known already, where it would be found out by sorting
    return found


def _variance(ratings: Ratings, counted: Counts) -> dict[str, Any]:
    """Divide the variance of the preferences, −2 … 2."""
    if ratings.once:
        found = tallied_components(SCALE, counted.by_evaluator @ TO_PREFERENCE, counted.by_prompt @ TO_PREFERENCE)
    else:
        found = variance_components(ratings.preference.astype(np.float64), clusters_of(ratings))
    return {
        "evaluator": found.evaluator,
        "prompt": found.prompt,
        "residual": found.residual,
        "evaluator_correlation": found.evaluator_correlation,
        "prompt_correlation": found.prompt_correlation,
        "set_to_zero": list(found.truncated),
        "reasons": list(found.reasons),
    }


LEAD: dict[str, Any] = {"count": 5, "symmetric": True, "names": ("lead",)}  # an intercept and thresholds about 0


def _cumulative_link(groups: Tally, options: Options) -> dict[str, Any]:
    """Fit the latent lead of the candidate with symmetric thresholds; errors know of evaluators and prompts."""
    try:
        fit = fit_cumulative_link(np.arange(5), np.ones((5, 1)), groups=groups, category_names=options.answers, **LEAD)
    except OrdinalError as error:
        return {"converged": False, "reason": str(error)}
    lead = fit.coefficient("lead")
    return {
        "converged": True,
        "reason": "",
        "link": fit.link,
        "lead": interval(lead, options.interim),
        "categories": [int(SCALE[k]) for k in fit.categories],  # that the thresholds part
        "thresholds": fit.thresholds.tolist(),
        "log_likelihood": fit.log_likelihood,
        "notes": list(fit.notes),
    }


def _crossed_link(ratings: Ratings, options: Options) -> dict[str, Any]:
    """Fit the same model with random effects of evaluators and prompts, where that takes a moment only."""
    if len(ratings) > MOST_CROSSED:
        return {"converged": False, "reason": f"it is fitted to {MOST_CROSSED:,} ratings at most, to keep pages quick"}
    try:
        fit = fit_crossed_link(
            ratings.preference.astype(np.intp) + 2,
            np.ones((len(ratings), 1)),
            clusters_of(ratings),
            category_names=options.answers,
            **LEAD,
        )
    except OrdinalError as error:
        return {"converged": False, "reason": str(error)}
    return {
        "converged": True,
        "reason": "",
        "link": fit.link,
        "lead": interval(fit.coefficient("lead"), options.interim),
        "categories": [int(SCALE[k]) for k in fit.categories],
        "thresholds": fit.thresholds.tolist(),
        "evaluator_deviation": fit.evaluator_deviation,
        "prompt_deviation": fit.prompt_deviation,
        "notes": list(fit.notes),
    }
