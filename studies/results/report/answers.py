"""Read a study's answers into arrays, in one query.

A million answers are too many for objects: the database packs each into three whole numbers. PostgreSQL sends these
by a binary COPY, with its workers allowed to share the work; SQLite hands them over as rows.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields, replace

import numpy as np
from django.db import connection, transaction
from numpy.typing import NDArray

from evenhand.studies.models import Trial
from evenhand.studies.results.flags import FAST_MS, SMALL_SHARE

KINDS = (Trial.Kind.MAIN, Trial.Kind.ATTENTION, Trial.Kind.REPEAT)
MAIN, ATTENTION, REPEAT = range(3)
SEQUENCE_BITS, ANSWER_BITS = 20, 16
LAST_SEQUENCE = 2**SEQUENCE_BITS - 1
COPY_HEADER, COPY_END = 19, 2  # bytes around the rows of a binary COPY
# A row of a binary COPY: the number of columns, and of each its length in bytes and its value.
COPY_ROW = np.dtype(
    [("n", ">i2"), *((f"{part}{i}", kind) for i in range(3) for part, kind in (("size", ">i4"), ("", ">i8")))]
)

# Every current answer of the study but practice. The third number holds the time in milliseconds, plus 1, and below it
# the bits that ``_unpacked`` reads.
QUERY = """
SELECT (CAST(r.evaluator_id AS bigint) << {sequence_bits})
       | (CASE WHEN r.sequence < {last} THEN r.sequence ELSE {last} END),
    CAST(COALESCE(t.pair_id, t.check_pair_id, 0) AS bigint),
    ((COALESCE(CAST(r.elapsed_ms AS bigint), -1) + 1) << {answer_bits})
        | (r.choice + 2)
        | (CAST(r.both_bad AS integer) << 3)
        | (CAST(COALESCE(t.candidate_on_left, {false}) AS integer) << 4)
        | (CAST(r.counted AS integer) << 5)
        | (CASE t.kind WHEN 'main' THEN 0 WHEN 'attention' THEN 1 ELSE 2 END << 6)
        | ((COALESCE(t.expected_choice, 0) + 1) << 8)
        | (t.criterion << 10)
        | (CASE WHEN {small} THEN 1 ELSE 0 END << 13)
FROM studies_rating r
JOIN studies_trial t ON t.id = r.trial_id
{images}
WHERE r.evaluator_id IN (SELECT id FROM studies_evaluator
                         WHERE study_id = {study} AND withdrawn_at IS NULL AND NOT pilot)
    AND NOT r.superseded AND r.deleted_at IS NULL AND t.kind <> 'practice'
"""
SHOWN = {  # a number that the page told of the display, and whether it told that the pictures were enlarged
    "postgresql": ("CAST(r.viewport->>'{}' AS double precision)", "COALESCE(r.viewport->>'zoomed' = 'true', false)"),
    "sqlite": ("CAST(json_extract(r.viewport, '$.{}') AS REAL)", "COALESCE(json_extract(r.viewport, '$.zoomed'), 0)"),
}


@dataclass(frozen=True, eq=False)
class Answers:
    """Current answers as columns of one length; not those of practice, of the pilot, of people who withdrew."""

    evaluator: NDArray[np.int64]
    sequence: NDArray[np.int64]  # place among the evaluator's answers
    item: NDArray[np.int64]  # the pair; of attention checks the check pair
    kind: NDArray[np.uint8]  # MAIN, ATTENTION or REPEAT
    criterion: NDArray[np.uint8]
    choice: NDArray[np.int8]  # −2 … 2 towards the right
    both_bad: NDArray[np.bool_]
    on_left: NDArray[np.bool_]  # the candidate's side
    counted: NDArray[np.bool_]
    expected: NDArray[np.int8]  # sign of a check's right answer; 0: none
    elapsed_ms: NDArray[np.float64]  # NaN where the page told no time
    small: NDArray[np.bool_]  # flagged as seen too small

    def __len__(self) -> int:
        return len(self.choice)

    def where(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Answers:
        """Return the rows that a mask or an order selects."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @property
    def preference(self) -> NDArray[np.int8]:
        """−2 … 2 towards the candidate."""
        return np.where(self.on_left, -self.choice, self.choice)

    @property
    def fast(self) -> NDArray[np.bool_]:
        """Flagged as too fast to have been seen."""
        return self.elapsed_ms < FAST_MS

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether a flag of its own is on the answer: fast, without a time, or seen too small."""
        return self.fast | np.isnan(self.elapsed_ms) | self.small


def read_answers(study: int, *, smallest_picture: int, file_width: int | None) -> Answers:
    """Read the current answers of a study, in an order that follows from the answers alone.

    smallest_picture  the study's smallest width of a displayed picture, CSS pixels; 0: any
    file_width        of all pictures, pixels; None where they differ
    """
    number, enlarged = SHOWN[connection.vendor]
    width = "i.width" if file_width is None else str(int(file_width))
    small = f"{number.format('picture_width_device')} < {SMALL_SHARE} * {width} AND NOT {enlarged}"
    if smallest_picture:
        small = f"({small}) OR {number.format('picture_width')} < {int(smallest_picture)}"
    query = QUERY.format(
        study=int(study), small=small, sequence_bits=SEQUENCE_BITS, answer_bits=ANSWER_BITS, last=LAST_SEQUENCE,
        false="0" if connection.vendor == "sqlite" else "false",
        images="JOIN studies_image i ON i.id = t.left_image_id" if file_width is None else "",
    )  # fmt: skip
    people, items, packed = _copied(query) if connection.vendor == "postgresql" else _fetched(query)
    order = np.argsort(people, kind="stable")  # rows come in long runs that are sorted
    return _unpacked(people[order], items[order], packed[order])


def _copied(query: str) -> tuple[NDArray[np.int64], ...]:
    """Read three columns of whole numbers by PostgreSQL's binary COPY."""
    buffer = io.BytesIO()
    with transaction.atomic(), connection.cursor() as cursor:
        # Only of this transaction: room for the join in memory, and no price on rows that workers hand over.
        cursor.execute(
            "SET LOCAL work_mem = '256MB'; SET LOCAL jit = off; SET LOCAL parallel_tuple_cost = 0;"
            " SET LOCAL parallel_setup_cost = 0"
        )
        cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", buffer)
    rows = np.frombuffer(buffer.getbuffer()[COPY_HEADER:-COPY_END], COPY_ROW)
    return tuple(rows[str(i)].astype(np.int64) for i in range(3))


def _fetched(query: str) -> tuple[NDArray[np.int64], ...]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        rows = np.array(cursor.fetchall(), np.int64).reshape(-1, 3)
    return tuple(rows.T)


def _unpacked(people: NDArray[np.int64], items: NDArray[np.int64], packed: NDArray[np.int64]) -> Answers:
    bits = (packed & (2**ANSWER_BITS - 1)).astype(np.int32)
    elapsed = (packed >> ANSWER_BITS).astype(np.float64) - 1
    elapsed[elapsed < 0] = np.nan
    return Answers(
        evaluator=people >> SEQUENCE_BITS,
        sequence=people & LAST_SEQUENCE,
        item=items,
        kind=(bits >> 6 & 3).astype(np.uint8),
        criterion=(bits >> 10 & 7).astype(np.uint8),
        choice=((bits & 7) - 2).astype(np.int8),
        both_bad=(bits >> 3 & 1).astype(np.bool_),
        on_left=(bits >> 4 & 1).astype(np.bool_),
        counted=(bits >> 5 & 1).astype(np.bool_),
        expected=((bits >> 8 & 3) - 1).astype(np.int8),
        elapsed_ms=elapsed,
        small=(bits >> 13 & 1).astype(np.bool_),
    )
