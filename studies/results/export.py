"""Export the ratings as CSV, and the codebook of its columns, both from the list ``COLUMNS``.

One row is one rating, of every kind of trial, superseded and uncounted ones too: the columns say which count. Reports
use the rows with ``trial_kind`` main, ``counted`` true, ``superseded`` false and ``excluded`` false.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import F
from django.db.models.functions import Coalesce

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Rating, Study, Trial
from evenhand.studies.results import flags

CHUNK = 2000
LABELS = {
    -2: "baseline_much_better",
    -1: "baseline_slightly_better",
    0: "no_preference",
    1: "candidate_slightly_better",
    2: "candidate_much_better",
}
WITHDRAWN = "withdrawn"
# What spreadsheets take for the beginning of a formula (OWASP, CSV injection), after any apostrophes.
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


@dataclass(frozen=True)
class Column:
    """A column: its meaning, and the function that computes it from a row of ``_rows``."""

    name: str
    kind: str  # type and unit
    description: str
    values: str
    compute: Callable[[Mapping[str, Any]], object]


def _of(name: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda row: row[name]


def _text(name: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda row: None if row[name] is None else protected(row[name])


def protected(text: str) -> str:
    """Put an apostrophe in front of text that a spreadsheet could read as a formula."""
    return f"'{text}" if FORMULA.match(text) else text


def _preference(row: Mapping[str, Any]) -> int | None:
    on_left = row["candidate_on_left"]
    return None if on_left is None else -row["choice"] if on_left else row["choice"]


def _label(row: Mapping[str, Any]) -> str | None:
    preference = _preference(row)
    return None if preference is None else LABELS[preference]


def _candidate_side(row: Mapping[str, Any]) -> str | None:
    return {None: None, True: "left", False: "right"}[row["candidate_on_left"]]


def _comparison(row: Mapping[str, Any]) -> int | None:
    return None if row["comparison"] is None else row["comparison"] + 1


def _shown(name: str) -> Callable[[Mapping[str, Any]], object]:
    """Read what the page told of the display."""

    def compute(row: Mapping[str, Any]) -> object:
        value = row["viewport"].get(name)
        return protected(value) if isinstance(value, str) else value

    return compute


UNTOLD = "empty where the page did not tell"
COLUMNS = (
    Column("study", "text", "Name of the study.", "any text", _text("study")),
    Column("version_hash", "text", "SHA-256 of the configuration under which the rating was given.",
           "64 hex digits", _of("version_hash")),
    Column("comparison", "integer", "Number of the comparison within the study.",
           "1, 2, …; empty for a trial without a pair", _comparison),
    Column("baseline_arm", "text", "Guidance of the baseline.",
           "any text; empty for a trial without a pair", _text("baseline_arm")),
    Column("candidate_arm", "text", "Guidance of the candidate.",
           "any text; empty for a trial without a pair", _text("candidate_arm")),
    Column("prompt_index", "integer", "Place of the prompt in the prompt set, from 0.", "0, 1, …", _of("prompt_index")),
    Column("prompt", "text", "The prompt as the evaluator read it.", "any text", _text("prompt")),
    Column("stratum", "text", "Stratum of the prompt by its CLIP score.",
           "high, middle, low, or p and a percentile; empty for a trial without a pair", _of("stratum")),
    Column("clip_score", "number, cosine", "CLIP score of the prompt's baseline picture, which ranked the prompt.",
           "−1 … 1; empty where it was not scored", _of("clip_score")),
    Column("seed", "integer", "Seed of both pictures.", "0, 1, …; empty for a trial without a pair", _of("seed")),
    Column("pair", "integer", "Identifier of the pair: the same in every rating of the same two pictures.",
           "1, 2, …; empty for a trial without a pair", _of("pair")),
    Column("evaluator", "text", "Pseudonym of the evaluator, the same in every export. It opens nothing.",
           "e and a number", lambda row: f"e{row['evaluator']}"),
    Column("trial_kind", "text", "What the trial was for.", ", ".join(Trial.Kind.values), _of("trial_kind")),
    Column("position", "integer", "Place of the trial in the evaluator's series.", "1, 2, …", _of("position")),
    Column("candidate_side", "text", "Where the candidate's picture stood.",
           "left, right; empty for a trial without a candidate", _candidate_side),
    Column("repeat_of", "integer", "Position of the earlier trial that this one repeats.",
           "1, 2, …; empty for a trial that repeats none", _of("repeat_of")),
    Column("choice", "integer", "What was pressed, towards the right picture.",
           "-2 left much better … 0 no preference … 2 right much better", _of("choice")),
    Column("preference", "integer", "The choice towards the candidate: its negative where the candidate stood left.",
           "-2 … 2; empty for a trial without a candidate", _preference),
    Column("label", "text", "The preference in words.", ", ".join(LABELS.values()), _label),
    Column("elapsed_ms", "integer, milliseconds", "Time from both pictures being visible to the answer, by the page.",
           "0, 1, …; empty where the page could not tell", _of("elapsed_ms")),
    Column("shown_at", "time, UTC", "When the trial was first served.",
           "ISO 8601; empty where unknown", _of("shown_at")),
    Column("rated_at", "time, UTC", "When the answer arrived.", "ISO 8601", _of("rated_at")),
    Column("counted", "boolean", "Whether the answer came while its pair still wanted ratings.", "true, false",
           _of("counted")),
    Column("superseded", "boolean", "Whether the evaluator corrected it later.", "true, false", _of("superseded")),
    Column("simulated", "boolean", "Whether a simulation gave it, not a person.", "true, false", _of("simulated")),
    Column("excluded", "boolean", "Whether the rating or its evaluator is excluded, or the evaluator has withdrawn.",
           "true, false", lambda row: bool(row["exclusion_reason"])),
    Column("exclusion_reason", "text", "Why it is excluded; several reasons are joined by semicolons.",
           f"the admin's words, or {WITHDRAWN}; empty where it is not excluded", _text("exclusion_reason")),
    Column("baseline_image_sha256", "text", "SHA-256 of the baseline's picture file.",
           "64 hex digits; empty for a trial without a pair", _of("baseline_image_sha256")),
    Column("candidate_image_sha256", "text", "SHA-256 of the candidate's picture file.",
           "64 hex digits; empty for a trial without a pair", _of("candidate_image_sha256")),
    Column("criterion", "text", "Name of the criterion that was asked.", "as the study names it", _text("criterion")),
    Column("both_bad", "boolean", "Whether “both are bad” was pressed; `choice` is then 0.", "true, false",
           _of("both_bad")),
    Column("reasons", "text", "The study's tags that were chosen after the answer, joined by semicolons.",
           "any text; empty where none was chosen or asked for", _text("reasons")),
    Column("remark", "text", "What the evaluator wrote after the answer.",
           "any text; empty where nothing was written or asked for", _text("remark")),
    Column("hidden_ms", "integer, milliseconds",
           "How long the page was hidden while the pair was open; no part of `elapsed_ms`.",
           f"0, 1, …; {UNTOLD}", _shown("hidden_ms")),
    Column("device_pixel_ratio", "number", "Device pixels a CSS pixel.", f"above 0; {UNTOLD}",
           _shown("device_pixel_ratio")),
    Column("viewport_width", "integer, CSS pixels", "Width of the window's content.", f"0, 1, …; {UNTOLD}",
           _shown("viewport_width")),
    Column("viewport_height", "integer, CSS pixels", "Height of the window's content.", f"0, 1, …; {UNTOLD}",
           _shown("viewport_height")),
    Column("picture_width", "number, CSS pixels", "Width at which each picture was displayed.",
           f"0 and above; {UNTOLD}", _shown("picture_width")),
    Column("picture_height", "number, CSS pixels", "Height at which each picture was displayed.",
           f"0 and above; {UNTOLD}", _shown("picture_height")),
    Column("picture_width_device", "integer, device pixels", "Width at which each picture was displayed.",
           f"0, 1, …; {UNTOLD}", _shown("picture_width_device")),
    Column("picture_height_device", "integer, device pixels", "Height at which each picture was displayed.",
           f"0, 1, …; {UNTOLD}", _shown("picture_height_device")),
    Column("zoomed", "boolean", "Whether the pictures were enlarged before the answer.", f"true, false; {UNTOLD}",
           _shown("zoomed")),
    Column("flipped", "boolean", "Whether the pictures were seen in one place by turns before the answer.",
           f"true, false; {UNTOLD}", _shown("flipped")),
    Column("pointer", "text", "What the answer was pressed with.", f"mouse, touch, pen, key; {UNTOLD}",
           _shown("pointer")),
    Column("flags", "text", "What makes the answer worth a look, joined by semicolons; told below.",
           f"{', '.join((flags.NO_TIME, flags.FAST, flags.SMALL, flags.STRAIGHT_LINE))}; empty where there is none",
           _of("flags")),
)  # fmt: skip


def csv_lines(study: Study) -> Iterator[str]:
    """Yield the CSV in a constant number of queries: a header and one record a rating, each ending in a line feed."""
    yield _record([column.name for column in COLUMNS])
    for row in _rows(study):
        yield _record([_cell(column.compute(row)) for column in COLUMNS])


def _rows(study: Study) -> Iterator[dict[str, Any]]:
    by_rating, by_evaluator = _exclusions_in_force(study)
    configurations = {v.pk: StudyConfiguration.from_json(v.configuration) for v in study.versions.all()}
    lines = flags.straight_lines(flags.current(study.evaluators.all()))
    scores = dict(study.subset.members.values_list("prompt", "clip_score")) if study.subset else {}
    ratings = Rating.objects.filter(evaluator__study=study, deleted_at=None).order_by("pk").values(*OWN, **SOURCES)
    row: dict[str, Any]
    for row in ratings.iterator(CHUNK):
        reasons = [*by_rating.get(row["pk"], ()), *by_evaluator.get(row["evaluator"], ())]
        if row["withdrawn_at"] is not None:
            reasons.append(WITHDRAWN)
        configuration = configurations[row["version"]]
        yield row | {
            "clip_score": scores.get(row["prompt_id"]),
            "exclusion_reason": "; ".join(reasons),
            "criterion": configuration.criteria[row["criterion_number"]].name,
            "reasons": "; ".join(row["reasons"]),
            "flags": "; ".join(_flags(row, configuration, row["evaluator"] in lines)),
        }


def _flags(row: Mapping[str, Any], configuration: StudyConfiguration, straight: bool) -> Iterator[str]:
    """Yield an answer's flags, and its evaluator's where it is one of the answers that the flag is about."""
    if row["trial_kind"] == Trial.Kind.PRACTICE:
        return
    yield from flags.rating_flags(
        elapsed_ms=row["elapsed_ms"],
        viewport=row["viewport"],
        file_width=row["file_width"],
        smallest_picture=configuration.smallest_picture,
    )
    if straight and row["trial_kind"] == Trial.Kind.MAIN and not row["superseded"]:
        yield flags.STRAIGHT_LINE


OWN = (
    "pk", "evaluator", "version", "choice", "both_bad", "reasons", "remark", "elapsed_ms", "viewport", "rated_at",
    "counted", "superseded",
)  # fmt: skip
SOURCES = {
    "study": F("evaluator__study__name"),
    "version_hash": F("version__sha256"),
    "comparison": F("trial__pair__comparison__position"),
    "baseline_arm": F("trial__pair__comparison__baseline__label"),
    "candidate_arm": F("trial__pair__comparison__candidate__label"),
    "prompt_id": Coalesce("trial__pair__prompt", "trial__check_pair__prompt"),
    "prompt_index": Coalesce("trial__pair__prompt__index", "trial__check_pair__prompt__index"),
    "prompt": Coalesce("trial__pair__prompt__text", "trial__check_pair__prompt__text"),
    "stratum": F("trial__pair__stratum"),
    "seed": F("trial__pair__baseline_image__seed"),
    "pair": F("trial__pair"),
    "trial_kind": F("trial__kind"),
    "criterion_number": F("trial__criterion"),
    "file_width": F("trial__left_image__width"),
    "position": F("trial__position"),
    "candidate_on_left": F("trial__candidate_on_left"),
    "repeat_of": F("trial__repeat_of__position"),
    "shown_at": F("trial__shown_at"),
    "simulated": F("evaluator__simulated"),
    "withdrawn_at": F("evaluator__withdrawn_at"),
    "baseline_image_sha256": F("trial__pair__baseline_image__sha256"),
    "candidate_image_sha256": F("trial__pair__candidate_image__sha256"),
}


def _exclusions_in_force(study: Study) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """Return the reasons of the exclusions in force, by rating and by evaluator."""
    by_rating: dict[int, list[str]] = {}
    by_evaluator: dict[int, list[str]] = {}
    in_force = study.exclusions.filter(lifted_at=None).order_by("pk")
    for rating, evaluator, reason in in_force.values_list("rating", "evaluator", "reason"):
        target, key = (by_rating, rating) if rating is not None else (by_evaluator, evaluator)
        target.setdefault(key, []).append(reason or "no reason given")
    return by_rating, by_evaluator


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return "" if value is None else value


def _record(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def codebook() -> str:
    """Return ``docs/codebook.md``: the columns, in order."""
    rows = [f"| `{c.name}` | {c.kind} | {c.description} | {c.values} |" for c in COLUMNS]
    return "\n".join([CODEBOOK, "| column | type, unit | meaning | values |", "|---|---|---|---|", *rows, "", FLAGS])


CODEBOOK = """\
# Codebook of the preference export

`manage.py export_preferences STUDY` and the console's CSV download write one row a rating, in the order in which the
answers arrived: UTF-8, comma-separated, quoted as RFC 4180 says, lines ending in a line feed. This page is written by
`manage.py export_preferences --codebook`, from the same definition as the CSV itself.

Every rating is there that was not deleted on request: of every kind of trial, corrected and uncounted ones too. Reports
are made of the rows with `trial_kind` main, `counted` true, `superseded` false and `excluded` false, either of people
(`simulated` false) or of simulations (`simulated` true), never of both unless they say so.

A missing value is an empty cell. Free text (study, arms, prompt, exclusion reason, reasons, remark) that a spreadsheet
could take for a formula carries one apostrophe in front: any text that begins with `=`, `+`, `-`, `@`, a tab or a line
break, behind any number of apostrophes. To get the text back, remove one apostrophe from such a cell. Numbers are never
touched.
"""

FLAGS = """\
## Flags

A flag excludes nobody and changes no result. Practice has none. The console counts the same flags for each evaluator.

- `no_time`: the page sent no time, as without JavaScript.
- `fast`: under 300 ms from both pictures being visible.
- `small`: the pictures were displayed with less than half of the file's pixels along a side and were not zoomed, or at
  less than the study's smallest width (`smallest_picture`).
- `straight_line`: on every current main answer of an evaluator who pressed the same key 10 times in a row
  (“no preference”: 20 times), or for 80 % of 20 answers or more (but for “no preference”). By simulation of 30 answers
  at random sides it marks 1 in 10 000 careful people who press “no preference” for up to 60 % of pairs, 4 % of those
  who do for 80 %, and 2 % of those who never do and know only one strength: look, before you leave somebody out.
"""
