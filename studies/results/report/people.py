"""Describe each evaluator's answers: how many, how long, which flags, which checks, how steady."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evenhand.analysis.agreement import consistency, study_pass_rate
from evenhand.analysis.clustered import clusters
from evenhand.studies.results import flags
from evenhand.studies.results.report.answers import ATTENTION, MAIN, REPEAT, Answers
from evenhand.studies.results.report.comparison import interval
from evenhand.studies.results.report.ratings import Ratings
from evenhand.studies.results.report.records import Records

Numbers = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What a study's evaluators did beside their preferences, by place among ``Records.people``."""

    straight: dict[int, str]  # in words
    fast: Numbers  # answers with that flag, (E,)
    no_time: Numbers
    small: Numbers
    checks: Numbers  # attention checks that can tell
    failed: Numbers
    repeats: Numbers
    same: Numbers  # repeats answered for the same side
    pairs: tuple[NDArray[np.int8], NDArray[np.int8], Numbers, NDArray[np.int64]]  # first, second, evaluator, pair


def behaviour_of(records: Records) -> Behaviour:
    """Count flags, checks and repeats of all evaluators."""
    answers, size = records.answers, len(records.people)
    who = records.people.numbers(answers.evaluator)
    is_check = (answers.kind == ATTENTION) & (answers.expected != 0)
    failed = is_check & (np.sign(answers.choice) != answers.expected)
    first, second, whose, pair = _repeats(answers, who, records.unusable_pairs)

    def count(mask: NDArray[np.bool_]) -> Numbers:
        return np.bincount(who[mask], minlength=size)

    return Behaviour(
        straight=_straight_lines(answers, who, size),
        fast=count(answers.fast),
        no_time=count(np.isnan(answers.elapsed_ms)),
        small=count(answers.small),
        checks=count(is_check),
        failed=count(failed),
        repeats=np.bincount(whose, minlength=size),
        same=np.bincount(whose[np.sign(first) == np.sign(second)], minlength=size),
        pairs=(first, second, whose, pair),
    )


def _repeats(
    answers: Answers, who: Numbers, unusable: NDArray[np.int64]
) -> tuple[NDArray[np.int8], NDArray[np.int8], Numbers, NDArray[np.int64]]:
    """Return first and second preferences of repeated usable pairs, whose they are, and the pair."""
    rows = np.flatnonzero((answers.kind == REPEAT) & ~np.isin(answers.item, unusable))
    nothing = np.zeros(0, np.int8)
    if not len(rows):
        return nothing, nothing, np.zeros(0, np.intp), np.zeros(0, np.int64)
    firsts = np.flatnonzero((answers.kind == MAIN) & np.isin(who, np.unique(who[rows])))
    keys = [
        np.stack([who[part], answers.item[part], answers.criterion[part]], axis=1).tolist() for part in (firsts, rows)
    ]
    place = {tuple(key): row for key, row in zip(keys[0], firsts.tolist(), strict=True)}
    matched = [(place[tuple(key)], row) for key, row in zip(keys[1], rows.tolist(), strict=True) if tuple(key) in place]
    one, other = (np.array([pair[i] for pair in matched], np.intp) for i in range(2))
    preference = answers.preference
    return preference[one], preference[other], who[other], answers.item[other]


def _straight_lines(answers: Answers, who: Numbers, size: int) -> dict[int, str]:
    """Say of each evaluator whose main answers are a straight line how they are one, as ``flags.straight_line`` does.

    It is asked only about those who have a run, or a share, of one key that is long enough.
    """
    rows = np.flatnonzero(answers.kind == MAIN)
    if not len(rows):
        return {}
    person, key = who[rows], (answers.choice[rows] + 2) + 5 * answers.both_bad[rows]
    starts = np.append(0, np.flatnonzero((np.diff(person) != 0) | (np.diff(key) != 0)) + 1)
    lengths, neutral = np.diff(np.append(starts, len(rows))), 2
    long_enough = lengths >= np.where(key[starts] == neutral, flags.NEUTRAL_RUN, flags.RUN)
    counts = np.bincount(person * 10 + key, minlength=size * 10).reshape(size, 10)
    given = counts.sum(axis=1)
    counts[:, neutral] = 0
    mostly_one = (given >= flags.SHARE_FROM) & (counts.max(axis=1) >= flags.SHARE * given)
    suspects = np.union1d(person[starts[long_enough]], np.flatnonzero(mostly_one))
    series: dict[int, list[flags.Key]] = defaultdict(list)
    told = np.isin(person, suspects)
    chosen, bad = answers.choice[rows][told].tolist(), answers.both_bad[rows][told].tolist()
    for whose, choice, both_bad in zip(person[told].tolist(), chosen, bad, strict=True):
        series[whose].append((choice, both_bad))
    lines = {whose: flags.straight_line(keys) for whose, keys in series.items()}
    return {whose: line for whose, line in lines.items() if line}


def checks_of(behaviour: Behaviour, chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Return how many attention checks the chosen evaluators passed, and how many of them failed one."""
    each = behaviour.checks[chosen]
    checks, failed = int(each.sum()), int(behaviour.failed[chosen].sum())
    return {
        "n": checks,
        "passed": checks - failed,
        "pass_rate": interval(study_pass_rate(each - behaviour.failed[chosen], each), interim=False),
        "evaluators": int((behaviour.checks[chosen] > 0).sum()),
        "evaluators_failed": int((behaviour.failed[chosen] > 0).sum()),
    }


def repeats_of(behaviour: Behaviour, chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Return how steadily the chosen evaluators answered the same pair again."""
    first, second, whose, pair = behaviour.pairs
    keep = chosen[whose]
    found = consistency(first[keep], second[keep], clusters(whose[keep], pair[keep]))
    return {
        "n": found.repeats,
        "same_side": interval(found.same_side, interim=False),
        "difference": interval(found.difference, interim=True),  # that it is 0 is no question
    }


def people_of(
    records: Records, ratings: Ratings, behaviour: Behaviour, population: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Describe every evaluator of the population who has answered something and has not withdrawn."""
    size = len(records.people)
    n = np.bincount(ratings.evaluator, minlength=size)
    sums = np.bincount(ratings.evaluator, ratings.preference, minlength=size)
    none = np.bincount(ratings.evaluator[ratings.choice == 0], minlength=size)
    medians = _medians(ratings, size)
    reasons = {
        each["evaluator"]: each["reason"] or "no reason given"
        for each in records.exclusions
        if each["evaluator"] is not None and each["lifted_at"] is None
    }
    answered = np.zeros(size, np.bool_)
    answered[records.people.numbers(records.answers.evaluator)] = True
    pks = records.people.pk.tolist()
    return [
        {
            "evaluator": f"e{pks[i]}",
            "simulated": bool(records.people.simulated[i]),
            "n": int(n[i]),
            "mean_preference": float(sums[i] / n[i]) if n[i] else math.nan,
            "none_share": float(none[i] / n[i]) if n[i] else math.nan,
            "median_ms": float(medians[i]),
            "flags": flags.in_words(
                {flags.FAST: int(behaviour.fast[i]), flags.NO_TIME: int(behaviour.no_time[i]),
                 flags.SMALL: int(behaviour.small[i])},
                behaviour.straight.get(i, ""),
            ),
            "checks": int(behaviour.checks[i]),
            "checks_passed": int(behaviour.checks[i] - behaviour.failed[i]),
            "repeats": int(behaviour.repeats[i]),
            "repeats_same": int(behaviour.same[i]),
            "left_out": reasons.get(pks[i], ""),
        }
        for i in np.flatnonzero(answered & population).tolist()
    ]  # fmt: skip


def _medians(ratings: Ratings, size: int) -> NDArray[np.float64]:
    """Compute each evaluator's median time, (E,); NaN where no time is known."""
    known = ~np.isnan(ratings.elapsed_ms)
    order = np.sort((ratings.evaluator[known] << 32) | ratings.elapsed_ms[known].astype(np.int64))
    person, elapsed = order >> 32, (order & (2**32 - 1)).astype(np.float64)
    ends = np.searchsorted(person, np.arange(size), side="right")
    starts = np.append(0, ends[:-1])
    found = np.full(size, np.nan)
    some = ends > starts
    low, high = (starts + (ends - starts - 1) // 2)[some], (starts + (ends - starts) // 2)[some]
    found[some] = (elapsed[low] + elapsed[high]) / 2
    return found
