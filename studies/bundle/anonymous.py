"""Take out of a bundle what could lead back to a person or to the study's owner.

Only what is listed here as safe is kept: a column or a setting that is added later stays out until it is listed too.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from django.utils.dateparse import parse_datetime

from evenhand.generation.methods.other_checkpoint import public_name
from evenhand.studies.bundle.checkpoints import checkpoints_of
from evenhand.studies.bundle.naming import Naming
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.results.export.cells import quoted

EMPTIED = ("contact", "approval", "completion_code", "completion_url", "end_returns")  # settings that name the owner
MILLISECONDS_KEPT = 100  # elapsed times are rounded to these
# Columns of the CSV that are kept; windows, sizes, remarks and the admin's reasons stay out.
KEPT = (
    "study", "comparison", "baseline_arm", "candidate_arm", "criterion", "prompt_index", "prompt", "stratum",
    "clip_score", "seed", "pair", "evaluator", "trial_kind", "position", "candidate_side", "repeat_of", "choice",
    "preference", "label", "both_bad", "reasons", "elapsed_ms", "shown_at", "rated_at", "counted", "superseded",
    "simulated", "excluded", "baseline_image_sha256", "candidate_image_sha256", "zoomed", "flipped", "pointer", "flags",
)  # fmt: skip


# Parts of the report that are kept; those about single people, exclusions, dates and the configuration stay out.
REPORTED = (
    "study", "population", "mark", "interim", "state", "ratings", "n", "level", "evaluators", "mean_elapsed_ms",
    "primary", "comparisons", "criteria", "time", "checks", "repeats", "finding", "methods", "replication",
)  # fmt: skip


def report_of_all(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a report that tell of all evaluators together."""
    return {name: report[name] for name in REPORTED if name in report}


def without_owner(configuration: StudyConfiguration) -> StudyConfiguration:
    """Return a configuration without contact, approval, panel's codes and a machine's folders."""
    checkpoints = checkpoints_of(configuration, anonymous=True)
    return replace(
        configuration,
        contact="",
        approval="",
        completion_code="",
        completion_url="",
        end_returns=(),
        checkpoint=checkpoints.name(configuration.checkpoint),
        encoder=public_name(configuration.encoder),
        encoder_pretrained=public_name(configuration.encoder_pretrained),
        candidates=tuple(map(checkpoints.guidance, configuration.candidates)),
    )


def csv_rows(lines: Iterable[str], naming: Naming) -> Iterator[str]:
    """Yield the CSV anew: columns that are safe, pseudonyms, seconds since the consent; people in their new order.

    The rows wait in a temporary file, so that memory holds no more than their places.
    """
    reader = csv.reader(_records(lines))
    head = next(reader)
    places = {name: head.index(name) for name in KEPT if name in head}
    evaluator_column = head.index("evaluator")
    people = {f"e{pk}": pk for pk in naming.evaluators}
    rows: dict[int, list[tuple[int, int]]] = {}  # of each evaluator, where a row begins, and its bytes
    with tempfile.TemporaryFile() as spool:
        for row in reader:
            pk = people[row[evaluator_column]]
            line = _line([_cell(name, row[place], pk, naming) for name, place in places.items()]).encode()
            rows.setdefault(pk, []).append((spool.tell(), len(line)))
            spool.write(line)
        yield _line(list(places))
        for pk in sorted(rows, key=lambda pk: naming.evaluators[pk]):
            for start, length in rows[pk]:
                spool.seek(start)
                yield spool.read(length).decode()


def _records(lines: Iterable[str]) -> Iterator[str]:
    """Yield physical lines, because ``csv.reader`` wants those, and a record may hold line breaks.

    Only those of CSV end a line: ``str.splitlines`` would also cut unquoted text at U+2028 and other separators.
    """
    for record in lines:
        yield from io.StringIO(record, newline="")


def _cell(name: str, value: str, pk: int, naming: Naming) -> str:
    change: Callable[[str], Any] | None = {
        "evaluator": lambda _: naming.evaluator(pk),
        "shown_at": lambda text: naming.time(parse_datetime(text), pk),
        "rated_at": lambda text: naming.time(parse_datetime(text), pk),
        "elapsed_ms": lambda text: MILLISECONDS_KEPT * round(int(text) / MILLISECONDS_KEPT),
    }.get(name)
    if change is None or not value:
        return value
    changed = change(value)
    return "" if changed is None else str(changed)


def _line(cells: list[str]) -> str:
    return ",".join(map(quoted, cells)) + "\n"  # before Python 3.13 csv.writer left a carriage return unquoted
