"""Compute a study's results from its ratings, as plain JSON for pages, figures and files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from django.db.models import Count, Q, QuerySet
from numpy.typing import NDArray

from evenhand.analysis.agreement import krippendorff_alpha
from evenhand.analysis.clustered import LEVEL, Estimate
from evenhand.analysis.preference import CATEGORIES, PreferenceShares, preference_estimates, preference_shares
from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree, Guidance
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Arm, Comparison, Rating, Study, Trial

POPULATIONS = ("real", "simulated", "all")


class PopulationError(InputError):
    """An unknown population of ratings."""


def counting_ratings(study: Study) -> QuerySet[Rating]:
    """Return the ratings that results count: of main trials, current, counted, neither excluded nor withdrawn."""
    return Rating.objects.filter(
        evaluator__study=study,
        evaluator__withdrawn_at=None,
        trial__kind=Trial.Kind.MAIN,
        superseded=False,
        counted=True,
    ).exclude(
        Q(pk__in=study.exclusions.filter(lifted_at=None, rating__isnull=False).values("rating"))
        | Q(evaluator__in=study.exclusions.filter(lifted_at=None, evaluator__isnull=False).values("evaluator"))
    )


@dataclass(frozen=True, eq=False)
class RatingsTable:
    """Counting ratings as columns of one length, in the order in which they were given."""

    comparison: NDArray[np.int64]  # position in the study
    criterion: NDArray[np.int64]  # number in the study, from 0
    pair: NDArray[np.int64]
    prompt: NDArray[np.int64]
    stratum: NDArray[np.str_]
    evaluator: NDArray[np.int64]
    preference: NDArray[np.int64]  # −2 … +2 towards the candidate
    both_bad: NDArray[np.bool_]  # said instead of “no preference”; its preference is 0
    elapsed_ms: NDArray[np.float64]  # NaN where the page could not tell

    def __len__(self) -> int:
        return len(self.preference)

    def where(self, mask: NDArray[np.bool_]) -> RatingsTable:
        """Return the rows that a mask selects."""
        return replace(self, **{field.name: getattr(self, field.name)[mask] for field in fields(self)})


def ratings_table(study: Study, *, population: str) -> RatingsTable:
    """Read the counting ratings of a population in one query."""
    if population not in POPULATIONS:
        raise PopulationError(f"population {population!r} is none of {', '.join(POPULATIONS)}")
    rows = counting_ratings(study)
    if population != "all":
        rows = rows.filter(evaluator__simulated=population == "simulated")
    columns = (
        "trial__pair__comparison__position",
        "trial__criterion",
        "trial__pair",
        "trial__pair__prompt",
        "trial__pair__stratum",
        "evaluator",
        "choice",
        "both_bad",
        "trial__candidate_on_left",
        "elapsed_ms",
    )
    values = list(zip(*rows.order_by("pk").values_list(*columns), strict=True)) or [()] * len(columns)
    comparison, criterion, pair, prompt, stratum, evaluator, choice, both_bad, on_left, elapsed = values
    return RatingsTable(
        comparison=np.array(comparison, np.int64),
        criterion=np.array(criterion, np.int64),
        pair=np.array(pair, np.int64),
        prompt=np.array(prompt, np.int64),
        stratum=np.array(stratum, np.str_),
        evaluator=np.array(evaluator, np.int64),
        preference=np.where(np.array(on_left, np.bool_), -1, 1) * np.array(choice, np.int64),
        both_bad=np.array(both_bad, np.bool_),
        elapsed_ms=np.array(elapsed, np.float64),  # None becomes NaN
    )


def study_report(study: Study, *, population: str | None = None) -> dict[str, Any]:
    """Return the statistics of a study's ratings as plain JSON (NaN is null).

    A population is "real", "simulated" or "all". Left out, it is the simulated ratings only where no real one counts.
    """
    kinds = dict(counting_ratings(study).values_list("evaluator__simulated").annotate(n=Count("pk")).order_by())
    real_count, simulated_count = kinds.get(False, 0), kinds.get(True, 0)
    if population is None:
        population = "simulated" if simulated_count and not real_count else "real"
    table = ratings_table(study, population=population)
    configuration = configuration_of(study)
    strata = [name for _, name in sorted(configuration.strata.items(), reverse=True)]
    comparisons = list(study.comparisons.select_related("baseline", "candidate").order_by("position"))
    names = short_names([arm for each in comparisons for arm in (each.baseline, each.candidate)])
    mark = _mark(population, real_count, simulated_count)
    interim = study.state != Study.State.CLOSED
    results = [
        _comparison(
            each, table.where((table.comparison == each.position) & (table.criterion == i)), strata, names, interim
        )
        | {"criterion": criterion.name, "question": criterion.question}
        for i, criterion in enumerate(configuration.criteria)
        for each in comparisons
    ]
    for result in results:
        result["finding"] = _marked(_finding(result, len(configuration.criteria)), mark)
    recipe, version = study.recipe, study.current_version
    report = {
        "study": study.name,
        "version_hash": version.sha256 if version else None,
        "checkpoint": recipe.checkpoint if recipe else configuration.checkpoint,
        "checkpoint_revision": recipe.revision if recipe else None,
        "population": population,
        "mark": mark,
        "interim": interim,
        "ratings": {"real": real_count, "simulated": simulated_count},  # of those that count
        "n": len(table),
        "level": LEVEL,
        "evaluators": _evaluators(study, population) | {"rated": len(np.unique(table.evaluator))},
        "mean_elapsed_ms": _mean(table.elapsed_ms),
        "comparisons": results,
        "finding": "; ".join(result["finding"] for result in results) if len(table) else "No ratings yet",
    }
    return _plain(report)


def _mark(population: str, real_count: int, simulated_count: int) -> str:
    """Return the mark of a population's numbers; empty where all ratings are real."""
    if population == "real" or (population == "all" and not simulated_count):
        return ""
    return "real and simulated" if population == "all" and real_count else "simulated"


def _evaluators(study: Study, population: str) -> dict[str, int]:
    """Count who was invited and who finished, of the same population."""
    evaluators = study.evaluators.all()
    if population != "all":
        evaluators = evaluators.filter(simulated=population == "simulated")
    return evaluators.aggregate(invited=Count("pk"), finished=Count("pk", filter=Q(finished_at__isnull=False)))


def _comparison(
    comparison: Comparison, table: RatingsTable, strata: list[str], names: Mapping[int, str], interim: bool
) -> dict[str, Any]:
    """Return the statistics of one comparison's ratings by one criterion; without p-values while more may come."""
    estimates = preference_estimates(table.preference, table.evaluator, table.prompt)
    return {
        "number": comparison.position + 1,
        "baseline": comparison.baseline.label,
        "candidate": comparison.candidate.label,
        "baseline_name": names[comparison.baseline.pk],
        "candidate_name": names[comparison.candidate.pk],
        **_shares(preference_shares(table.preference)),
        "both_bad": {"n": int(table.both_bad.sum()), "share": _mean(table.both_bad.astype(np.float64))},
        "pairs": len(np.unique(table.pair)),
        "evaluators": len(np.unique(table.evaluator)),
        "intervals": {name: _interval(each, interim) for name, each in estimates.items()},
        "no_interval": estimates["candidate"].reason,
        "alpha": _agreement(table),
        "strata": {
            name: _stratum(table.where(table.stratum == name), interim)
            for name in [*strata, *sorted(set(table.stratum.tolist()) - set(strata))]
        },
    }


def _interval(estimate: Estimate, interim: bool) -> dict[str, Any]:
    """Return an estimate; without its p-value while more ratings may come, because looking often finds anything."""
    return {
        "estimate": estimate.estimate,
        "low": estimate.low,
        "high": estimate.high,
        "standard_error": estimate.standard_error,
        "p": math.nan if interim else estimate.p,
    }


def _stratum(table: RatingsTable, interim: bool) -> dict[str, Any]:
    """Return one stratum's shares, and the intervals of the sides and of the net share."""
    estimates = preference_estimates(table.preference, table.evaluator, table.prompt)
    return {
        **_shares(preference_shares(table.preference)),
        "intervals": {name: _interval(estimates[name], interim) for name in ("baseline", "candidate", "net")},
        "no_interval": estimates["candidate"].reason,
    }


def _shares(preferences: PreferenceShares) -> dict[str, Any]:
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


def _agreement(table: RatingsTable) -> float:
    """Compute Krippendorff's α of preferences, ordinal; the units are pairs."""
    if not len(table):
        return math.nan
    pairs, unit = np.unique(table.pair, return_inverse=True)
    evaluators, rater = np.unique(table.evaluator, return_inverse=True)
    answers = np.full((len(pairs), len(evaluators)), np.nan)
    answers[unit, rater] = table.preference
    return krippendorff_alpha(answers, "ordinal")


def _finding(result: Mapping[str, Any], criteria: int) -> str:
    """State a comparison's result in one sentence; with the criterion's name, where there are several."""
    text = _finding_of_comparison(result)
    return text if criteria == 1 else f"{result['criterion'].replace('_', ' ').capitalize()}: {text}"


def _finding_of_comparison(result: Mapping[str, Any]) -> str:
    """State a result about the arm that was preferred more often."""
    candidate, baseline = result["candidate_name"], result["baseline_name"]
    if not result["n"]:
        return f"{candidate} has no ratings yet"
    share, other, ratings = result["candidate_share"], result["baseline_share"], plural(result["n"], "rating")
    if share == other:
        return f"{candidate} and {baseline} preferred equally often, each in {100 * share:.0f} % of {ratings}"
    winner, subject = ("candidate", candidate) if share > other else ("baseline", f"{baseline} (baseline)")
    sentence = f"{subject} preferred in {100 * result[f'{winner}_share']:.0f} % of {ratings}"
    if result["no_interval"]:
        return f"{sentence} (no interval: {result['no_interval']})"
    low, high = (100 * result["intervals"][winner][limit] for limit in ("low", "high"))
    return f"{sentence}, {100 * LEVEL:.0f} % interval {low:.0f}–{high:.0f}"


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: “1 rating”, “2 ratings”."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _marked(text: str, mark: str) -> str:
    return f"{text} ({mark})" if mark else text


def short_names(arms: list[Arm]) -> dict[int, str]:
    """Name arms for figures, "a = 10" for segmentation-free ones; by the full label where two would share a name."""
    names = {arm.pk: _short_name(arm.to_guidance()) for arm in arms}
    counts = Counter(names.values())
    return {arm.pk: names[arm.pk] if counts[names[arm.pk]] == 1 else arm.label for arm in arms}


def _short_name(guidance: Guidance) -> str:
    if isinstance(guidance, ClassifierFree):
        return f"CFG w = {guidance.strength:g}"
    return f"a = {guidance.scale:g}"


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _plain(value: Any) -> Any:
    """Replace NaN by None, because JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
