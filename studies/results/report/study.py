"""Compute a study's results from its records, as plain JSON for pages, figures and files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from django.utils import timezone

from evenhand.analysis.clustered import LEVEL
from evenhand.analysis.decisions import holm, tallied_side_bias
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Comparison, Study
from evenhand.studies.results.report.answers import MAIN
from evenhand.studies.results.report.comparison import Options, comparison_result, interval, times
from evenhand.studies.results.report.left_out import changes_after_closing, left_out
from evenhand.studies.results.report.people import Behaviour, behaviour_of, checks_of, people_of, repeats_of
from evenhand.studies.results.report.provenance import methods, provenance
from evenhand.studies.results.report.ratings import TO_CHOICE, TO_SIDED, Ratings
from evenhand.studies.results.report.records import Records, place_of, read_records
from evenhand.studies.results.report.replication import replication_section
from evenhand.studies.results.report.scores import davidson_scores
from evenhand.studies.results.report.sweeps import sweeps_of
from evenhand.studies.results.report.wording import answers_in_words, finding_of, mark_of, marked, short_names

MOST_CROSSED_FITS = 6  # of comparisons and criteria together: each takes up to a quarter of a second


def compute_report(study: Study, *, population: str | None = None) -> dict[str, Any]:
    """Return the statistics of a study's ratings as plain JSON (NaN is null).

    A population is "real", "simulated" or "all". Left out, it is the simulated ratings only where no real one counts.
    """
    records = read_records(study)
    behaviour = behaviour_of(records)
    everybody = main_ratings(records, behaviour)
    real_count, simulated_count = _counts(records, everybody)
    population, mark = population_and_mark(records, everybody, population)
    chosen = records.people.of(population)
    ratings = everybody.where(chosen[everybody.evaluator])
    counting = ratings.where(ratings.counts)
    included = chosen & ~records.people.excluded & ~records.people.withdrawn
    interim = study.state != Study.State.CLOSED
    names = short_names([arm for each in records.comparisons for arm in (each.baseline, each.candidate)])
    results = _results(records, ratings, names, interim)
    free = bool(records.configuration.comparisons)
    for result in results:
        result["finding"] = marked(finding_of(result, len(records.configuration.criteria), free=free), mark)
    origin = provenance(records, timezone.now())
    report = {
        "study": study.name,
        "version_hash": origin["configuration_sha256"],
        "checkpoint": origin["checkpoint"],
        "checkpoint_revision": origin["checkpoint_revision"],
        "population": population,
        "mark": mark,
        "interim": interim,
        "state": study.state,
        "ratings": {"real": real_count, "simulated": simulated_count},  # of those that count
        "n": len(counting),
        "level": LEVEL,
        "evaluators": {
            "invited": int(chosen.sum()),
            "finished": int((records.people.finished & chosen).sum()),
            "rated": len(np.unique(counting.evaluator)),
        },
        "mean_elapsed_ms": times(counting.elapsed_ms)["mean_ms"],
        "primary": _primary(records, results),
        "free_comparisons": free,
        "comparisons": results,
        "sweeps": sweeps_of(records.comparisons, results, names, records.baseline),
        "criteria": _criteria(records, counting, names, interim),
        "time": times(counting.elapsed_ms),
        "checks": checks_of(behaviour, included),
        "repeats": repeats_of(behaviour, included),
        "left_out": left_out(records, chosen, counted=len(counting), for_pairs=int(ratings.for_pair.sum())),
        "changes_after_closing": changes_after_closing(records),
        "people": people_of(records, ratings, behaviour, chosen & ~records.people.withdrawn),
        "finding": "; ".join(result["finding"] for result in results) if len(counting) else "No ratings yet",
        "replication": replication_section(records, counting, names, population=population, interim=interim),
        "methods": methods(),
        "provenance": origin,
    }
    found: dict[str, Any] = plain(report)
    return found


def _counts(records: Records, ratings: Ratings) -> tuple[int, int]:
    """Return the numbers of real and of simulated ratings that count."""
    simulated = records.people.simulated[ratings.evaluator[ratings.counts]]
    return int((~simulated).sum()), int(simulated.sum())


def population_and_mark(records: Records, ratings: Ratings, population: str | None) -> tuple[str, str]:
    """Return the population that a report is of, and the mark of its numbers; empty where all ratings are real.

    Left out, it is the simulated ratings only where no real one counts.
    """
    real_count, simulated_count = _counts(records, ratings)
    if population is None:
        population = "simulated" if simulated_count and not real_count else "real"
    return population, mark_of(population, real_count, simulated_count)


def main_ratings(records: Records, behaviour: Behaviour) -> Ratings:
    """Return the main ratings that came while their pair wanted them, of all populations, those left out marked."""
    answers = records.answers
    rows = np.flatnonzero((answers.kind == MAIN) & answers.counted)
    if len(rows) < len(answers):
        answers = answers.where(rows)
    people, pairs = records.people, records.pairs
    who, pair = people.numbers(answers.evaluator), place_of(answers.item, pairs.pk)
    straight = np.zeros(len(people), np.bool_)
    straight[list(behaviour.straight)] = True
    counts = ~people.excluded[who]
    if single := records.excluded_ratings:
        keys = zip(answers.evaluator.tolist(), answers.sequence.tolist(), strict=True)
        counts &= np.array([key not in single for key in keys], np.bool_)
    unusable = np.isin(answers.item, records.unusable_pairs)
    ratings = Ratings(
        comparison=pairs.comparison[pair],
        criterion=answers.criterion.astype(np.intp),
        evaluator=who,
        prompt=pairs.prompt[pair],
        stratum=pairs.stratum[pair],
        choice=answers.choice,
        on_left=answers.on_left,
        both_bad=answers.both_bad,
        elapsed_ms=answers.elapsed_ms,
        counts=counts & ~unusable,
        for_pair=counts & unusable,
        flagged=answers.flagged | straight[who],
        failed_check=behaviour.failed[who] > 0,
    )
    key = (ratings.criterion * max(len(records.comparisons), 1) + ratings.comparison).astype(np.uint16)
    if len(key) and (key != key[0]).any():
        ratings = ratings.where(np.argsort(key, kind="stable"))
    return ratings.checked_once()


def _results(records: Records, ratings: Ratings, names: Mapping[int, str], interim: bool) -> list[dict[str, Any]]:
    """Return the statistics of every comparison by every criterion, criterion by criterion."""
    configuration, comparisons = records.configuration, records.comparisons
    options = Options(
        interim=interim,
        strata=records.pairs.strata,
        margin=configuration.equivalence_margin,
        planned=records.planned,
        crossed=len(comparisons) * len(configuration.criteria) <= MOST_CROSSED_FITS,
        answers=answers_in_words(free=bool(configuration.comparisons)),
    )
    parts = {(i, position): part.checked_once() for i, position, part in ratings.parts(len(comparisons))}
    nothing = ratings.where(slice(0, 0))
    results = []
    for i, criterion in enumerate(configuration.criteria):
        of_criterion = [
            _named(each, names, configuration)
            | comparison_result(parts.get((i, each.position), nothing), options)
            | {"criterion": criterion.name, "question": criterion.question}
            for each in comparisons
        ]
        _adjust(of_criterion)
        results += of_criterion
    return results


def _adjust(results: Sequence[dict[str, Any]]) -> None:
    """Put Holm's p-values beside a criterion's results, for as many comparisons as have ratings."""
    p_values = [result["net_share"]["p"] for result in results if result["n"]]
    adjusted = iter(holm(p_values).tolist())
    for result in results:
        result["holm"] = {
            "comparisons": len(p_values),
            "p": result["net_share"]["p"],
            "adjusted_p": next(adjusted) if result["n"] else math.nan,
        }


def _named(comparison: Comparison, names: Mapping[int, str], configuration: StudyConfiguration) -> dict[str, Any]:
    return {
        "number": comparison.position + 1,
        "baseline": comparison.baseline.label,
        "candidate": comparison.candidate.label,
        "baseline_name": names[comparison.baseline.pk],
        "candidate_name": names[comparison.candidate.pk],
        "against_baseline": configuration.compared[comparison.position][0] == 0,
    }


def _primary(records: Records, results: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Name the primary outcome, by default the first comparison by the first criterion; None without comparisons."""
    configuration = records.configuration
    criterion = configuration.primary_criterion or configuration.criteria[0].name
    index = next(
        (
            i
            for i, result in enumerate(results)
            if result["criterion"] == criterion and result["number"] == configuration.primary_comparison
        ),
        None,
    )
    if index is None:
        return None
    stated = bool(configuration.primary_criterion) or configuration.primary_comparison != 1
    return {
        "index": index,  # among the report's comparisons
        "comparison": configuration.primary_comparison,
        "criterion": criterion,
        "stated": stated,
    }


def _criteria(records: Records, counting: Ratings, names: Mapping[int, str], interim: bool) -> list[dict[str, Any]]:
    """Return what is told of each criterion over all comparisons: the lean to a side, and the arms' scores."""
    found = []
    for i, criterion in enumerate(records.configuration.criteria):
        ratings = counting.where(counting.criterion == i).checked_once()
        counted = ratings.counted()
        sides = tallied_side_bias(counted.mapped(TO_CHOICE), counted.mapped(TO_SIDED))
        found.append(
            {
                "name": criterion.name,
                "question": criterion.question,
                "n": len(ratings),
                "side_bias": {
                    "mean": interval(sides.mean, interim),
                    "right": interval(sides.right, interim),
                    "n": sides.sided,
                },
                "davidson": davidson_scores(ratings, records.comparisons, names, interim, baseline=records.baseline),
            }
        )
    return found


def plain(value: Any) -> Any:
    """Replace NaN and infinity by None, because JSON has neither."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is dict:
        return {key: plain(each) for key, each in value.items()}
    if kind is list or kind is tuple:
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
