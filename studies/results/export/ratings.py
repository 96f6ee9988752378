"""Write the ratings as CSV, one row a rating, of every kind of trial, superseded and uncounted ones too.

The columns say which count: reports use the rows with ``trial_kind`` main, ``counted`` TRUE, ``superseded`` FALSE and
``excluded`` FALSE. What is the same in many rows is written once and kept: the cells of a pair, of a version, of an
evaluator, of a window. So a row costs one formatted string, and memory does not grow with the ratings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import connection

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import CheckPair, Evaluator, Pair, Study, Trial
from evenhand.studies.results import flags
from evenhand.studies.results.export.cells import boolean, number, protected, quoted, words
from evenhand.studies.results.export.columns import COLUMNS, LABELS, UNUSABLE, WITHDRAWN

CHUNK = 2000
SIDES = {None: "", False: "right", True: "left"}  # 0 and 1 are the same keys
# The three cells choice, preference and label, by where the candidate stood and what was pressed.
ANSWERS = {(None, choice): f"{choice},," for choice in LABELS} | {
    (on_left, choice): f"{choice},{-choice if on_left else choice},{LABELS[-choice if on_left else choice]}"
    for on_left in (False, True)
    for choice in LABELS
}
SHOWN = (
    "hidden_ms", "device_pixel_ratio", "viewport_width", "viewport_height", "picture_width", "picture_height",
    "picture_width_device", "picture_height_device", "zoomed", "flipped", "pointer",
)  # fmt: skip
# Django takes longer to build its rows than PostgreSQL to find them.
QUERY = """
SELECT rating.id, rating.evaluator_id, rating.version_id, trial.pair_id, trial.check_pair_id, trial.kind,
       trial.position, trial.candidate_on_left, first.position, rating.choice, rating.elapsed_ms, {shown_at},
       {rated_at}, rating.counted, rating.superseded, rating.both_bad, {reasons}, rating.remark, {viewport},
       trial.criterion
  FROM studies_rating rating
  JOIN studies_trial trial ON trial.id = rating.trial_id
  LEFT JOIN studies_trial first ON first.id = trial.repeat_of_id
 WHERE rating.evaluator_id IN (SELECT person.id FROM studies_evaluator person WHERE person.study_id = %s AND {people})
   AND rating.deleted_at IS NULL
"""
ALL = "ORDER BY rating.id"
PART = "AND rating.id > %s ORDER BY rating.id LIMIT %s"


@dataclass(frozen=True)
class PairCells:
    """The cells of a pair: from the comparison to the pair, the two pictures' hashes; the files' width; marks."""

    head: str
    pictures: str
    width: int
    reasons: tuple[str, ...] = ()  # for which all answers to it are left out


@dataclass(frozen=True)
class PersonCells:
    """The cells of an evaluator, and the reasons for which all of their answers are left out."""

    public_id: str
    simulated: str
    reasons: tuple[str, ...]
    straight: bool


@dataclass(frozen=True)
class Window:
    """How a pair was displayed, as cells, and what the flags ask of it."""

    cells: str
    viewport: Mapping[str, Any]


def csv_lines(study: Study) -> Iterator[str]:
    """Yield the CSV in a constant number of queries: a header and one record a rating, each ending in a line feed."""
    yield from _lines(study, pilot=False)


def pilot_lines(study: Study) -> Iterator[str]:
    """Yield the CSV of the pilot's answers alone, which no other file holds."""
    yield from _lines(study, pilot=True)


def _lines(study: Study, *, pilot: bool) -> Iterator[str]:
    yield ",".join(column.name for column in COLUMNS) + "\n"
    line = _writer(study)
    for row in _rows(study, pilot=pilot):
        yield line(row)


def numbered_lines(study: Study, *, after: int, limit: int) -> Iterator[tuple[int, str]]:
    """Yield the records of up to ``limit`` ratings whose ids are above ``after``, each behind its id."""
    line = _writer(study)
    for row in _rows(study, PART, after, limit):
        yield row[0], line(row)


def _rows(study: Study, which: str = ALL, *arguments: int, pilot: bool = False) -> Iterator[tuple[Any, ...]]:
    """Yield the ratings in the order in which they arrived, a few thousand at a time from the server."""
    query = QUERY.format(
        shown_at=_moment("trial.shown_at"),
        rated_at=_moment("rating.rated_at"),
        reasons=_text("rating.reasons"),
        viewport=_text("rating.viewport"),
        people="person.pilot" if pilot else "NOT person.pilot",
    )
    with connection.chunked_cursor() as cursor:
        cursor.execute(query + which, [study.pk, *arguments])
        while rows := cursor.fetchmany(CHUNK):
            yield from rows


def _moment(column: str) -> str:
    """Return SQL that writes a time in UTC to the millisecond, cut off; SQLite holds times as text in UTC."""
    if connection.vendor == "postgresql":
        return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
    day, clock = f"substr({column}, 1, 10)", f"substr({column}, 12, 8)"
    return f"{day} || 'T' || {clock} || '.' || substr(substr({column}, 21, 3) || '000', 1, 3) || 'Z'"


def _text(column: str) -> str:
    return f"{column}::text" if connection.vendor == "postgresql" else column


def _writer(study: Study) -> Callable[[tuple[Any, ...]], str]:
    """Return the function that writes one row; it holds what many rows share."""
    scores = dict(study.subset.members.values_list("prompt", "clip_score")) if study.subset else {}
    left_out = exclusions_in_force(study)
    pairs, checks = _pairs(study, scores, left_out.pairs), _check_pairs(study, scores)
    people, single = _people(study, left_out.evaluators), left_out.ratings
    versions = {v.pk: (v.sha256, StudyConfiguration.from_json(v.configuration)) for v in study.versions.all()}
    heads = {pk: f"{words(study.name)},{sha256}" for pk, (sha256, _) in versions.items()}
    criteria = {pk: [words(each.name) for each in plan.criteria] for pk, (_, plan) in versions.items()}
    smallest = {pk: plan.smallest_picture for pk, (_, plan) in versions.items()}
    practice, main = Trial.Kind.PRACTICE.value, Trial.Kind.MAIN.value

    def line(row: tuple[Any, ...]) -> str:
        (
            pk, evaluator, version, pair_id, check_id, kind, position, on_left, repeat_of, choice, elapsed, shown_at,
            rated_at, counted, superseded, both_bad, reasons, remark, viewport, criterion,
        ) = row  # fmt: skip
        pair = pairs[pair_id] if pair_id is not None else checks[check_id]
        person, window = people[evaluator], _window(viewport)
        why = (*single[pk], *person.reasons) if pk in single else person.reasons
        why = (*why, *pair.reasons) if pair.reasons else why
        told: tuple[str, ...] = ()
        if kind != practice:
            told = flags.rating_flags(
                elapsed_ms=elapsed, viewport=window.viewport, file_width=pair.width, smallest_picture=smallest[version]
            )
            if person.straight and kind == main and not superseded:
                told = (*told, flags.STRAIGHT_LINE)
        return (
            f"{heads[version]},{pair.head},e{evaluator},{kind},{position},{SIDES[on_left]},"
            f"{'' if repeat_of is None else repeat_of},{ANSWERS[on_left, choice]},{'' if elapsed is None else elapsed},"
            f"{shown_at or ''},{rated_at},{'TRUE' if counted else 'FALSE'},{'TRUE' if superseded else 'FALSE'},"
            f"{person.simulated},{'TRUE,' + words('; '.join(why)) if why else 'FALSE,'},{pair.pictures},"
            f"{criteria[version][criterion]},{'TRUE' if both_bad else 'FALSE'},"
            f"{'' if reasons == '[]' else words('; '.join(json.loads(reasons)))},{words(remark)},{window.cells},"
            f"{'; '.join(told)},{person.public_id},{'TRUE' if flags.FAST in told else 'FALSE'}\n"
        )

    return line


@lru_cache(maxsize=4096)
def _window(viewport: str) -> Window:
    """Return how a pair was displayed; people rarely change their window, so it is read once and kept."""
    told: dict[str, Any] = json.loads(viewport)
    return Window(",".join(_shown(told.get(name)) for name in SHOWN), told)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return boolean(value)
    return quoted(protected(value)) if isinstance(value, str) else number(value)


def _pairs(study: Study, scores: Mapping[int, float | None], unusable: Mapping[int, list[str]]) -> dict[int, PairCells]:
    rows = Pair.objects.filter(comparison__study=study).values_list(
        "pk", "comparison__position", "comparison__baseline__label", "comparison__candidate__label", "prompt",
        "prompt__index", "prompt__text", "stratum", "baseline_image__seed", "baseline_image__width",
        "baseline_image__sha256", "candidate_image__sha256",
    ).order_by()  # fmt: skip
    return {
        pk: PairCells(
            f"{position + 1},{words(baseline)},{words(candidate)},{index},{words(text)},{words(stratum)},"
            f"{number(scores.get(prompt))},{number(seed)},{pk}",
            f"{first},{second}",
            width or 0,
            tuple(f"{UNUSABLE}: {reason}" for reason in unusable.get(pk, ())),
        )
        for pk, position, baseline, candidate, prompt, index, text, stratum, seed, width, first, second in rows
    }


def _check_pairs(study: Study, scores: Mapping[int, float | None]) -> dict[int, PairCells]:
    rows = CheckPair.objects.filter(study=study).values_list(
        "pk", "prompt", "prompt__index", "prompt__text", "better__width"
    )
    return {
        pk: PairCells(f",,,{index},{words(text)},,{number(scores.get(prompt))},,", ",", width or 0)
        for pk, prompt, index, text, width in rows.order_by()
    }


def _people(study: Study, excluded: Mapping[int, list[str]]) -> dict[int, PersonCells]:
    """Return the cells of every evaluator."""
    straight = flags.straight_lines(flags.current(study.evaluators.all()))
    rows = Evaluator.objects.filter(study=study).values_list("pk", "public_id", "simulated", "withdrawn_at")
    return {
        pk: PersonCells(
            quoted(protected(public_id)),
            boolean(simulated),
            (*excluded.get(pk, ()), *([WITHDRAWN] if withdrawn_at is not None else [])),
            pk in straight,
        )
        for pk, public_id, simulated, withdrawn_at in rows.order_by()
    }


@dataclass(frozen=True)
class Reasons:
    """The reasons of the exclusions in force, by what they leave out, in the database's numbers."""

    ratings: dict[int, list[str]]
    evaluators: dict[int, list[str]]
    pairs: dict[int, list[str]]


def exclusions_in_force(study: Study) -> Reasons:
    """Return the reasons of the exclusions in force; one query."""
    found = Reasons({}, {}, {})
    in_force = study.exclusions.filter(lifted_at=None).order_by("pk")
    for rating, evaluator, pair, reason in in_force.values_list("rating", "evaluator", "pair", "reason"):
        for target, key in ((found.ratings, rating), (found.evaluators, evaluator), (found.pairs, pair)):
            if key is not None:
                target.setdefault(key, []).append(reason or "no reason given")
    return found
