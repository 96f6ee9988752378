"""Read tables of text: find out separator, quoting and header, and yield the rows.

Commas and semicolons come with quoting (RFC 4180). Tables of tabs often have none, so that a quotation mark is a
character like others; whether a file quotes is seen in the whole of it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from evenhand.sampling.columns import Columns, columns_of, is_known, names_prompts
from evenhand.sampling.encodings import encoding_of, encoding_title, lines_of
from evenhand.sampling.reading import (
    LINE_LIMIT,
    NO_SEPARATOR,
    SEPARATORS,
    Found,
    PromptFileError,
    Reading,
    Row,
    Rows,
)

SAMPLE = 200  # lines from which the separator is found out
SAMPLE_CHARACTERS = 200_000
_DECLARED = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_NAMES = {character: name for name, character in SEPARATORS.items()} | {"": NO_SEPARATOR}
TABS = (".tsv", ".tab")


@dataclass(frozen=True)
class _Layout:
    separator: str  # "": every line is a field
    quoted: bool
    skipped: int = 0  # lines before the table: “sep=;”
    notes: tuple[str, ...] = ()


Record = tuple[int, list[str]]  # the line on which it begins, and its fields


def table(source: Path, reading: Reading) -> Rows:
    """Return the rows of a table of text. Raises ``PromptFileError``, and ``ColumnError`` where a column is needed."""
    encoding = encoding_of(source, reading.encoding)
    layout = _layout(source, encoding, reading)
    records = (record for record in _records(source, encoding, layout) if record[1])
    first = next(records, None)
    if first is None or not any(cell.strip() for cell in first[1]):
        raise PromptFileError(f"{source}: holds no prompts")
    header = _has_header(first[1], reading)
    names = tuple(cell.strip() if header else f"column {i}" for i, cell in enumerate(first[1], 1))
    columns = columns_of(source, names, reading)
    notes = layout.notes
    if not header and reading.header is None:
        notes += ("The first row names no column, so it counts as a prompt.",)
    found = Found(
        "table",
        encoding_title(encoding),
        _NAMES.get(layout.separator, layout.separator),
        layout.quoted,
        header,
        names,
        columns.prompt,
        columns.identity,
        columns.seed,
        notes,
    )
    return Rows(found, rows_of_records(source, names, columns, records if header else chain([first], records)))


def rows_of_records(
    source: Path, names: tuple[str, ...], columns: Columns, records: Iterable[Record], unit: str = "line"
) -> Iterator[Row]:
    """Yield the rows of records. Raises ``PromptFileError`` for one with more or fewer fields than the header."""
    prompt = names.index(columns.prompt)
    identity = None if columns.identity is None else names.index(columns.identity)
    seed = None if columns.seed is None else names.index(columns.seed)
    for number, fields in records:
        if len(fields) != len(names):
            counted = f"{len(fields)} fields, the header has {len(names)}"
            raise PromptFileError(f"{source}: {unit} {number}: {counted}")
        yield Row(
            f"{unit} {number}",
            fields[prompt],
            str(number),
            None if identity is None else fields[identity],
            "" if seed is None else fields[seed],
        )


def _has_header(cells: list[str], reading: Reading) -> bool:
    if reading.header is not None:
        return reading.header
    return len(cells) > 1 or names_prompts(cells[0]) or cells[0].strip() == reading.column


# ------------------------------------------------------------------------------ records


class _Feed:
    """Lines for the CSV reader, which may join many into a record: their length is bounded together."""

    def __init__(self, source: Path, lines: Iterator[str]) -> None:
        self.source, self.lines, self.length, self.number = source, lines, 0, 0

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.length += len(line)
            self.number += 1
            if self.length > LINE_LIMIT:
                place = f"{self.source}: line {self.number}"
                raise PromptFileError(f"{place}: a row has more than {LINE_LIMIT:,} characters; is a quote left open?")
            yield line


def _records(source: Path, encoding: str, layout: _Layout) -> Iterator[Record]:
    lines = islice(lines_of(source, encoding), layout.skipped, None)
    return _parsed(source, lines, layout)


def _parsed(source: Path, lines: Iterator[str], layout: _Layout) -> Iterator[Record]:
    """Yield records with the physical line on which each begins; an error names that line."""
    if not layout.separator:
        for number, line in enumerate(lines, layout.skipped + 1):
            text = line.rstrip("\r\n")
            yield number, [text] if text else []
        return
    feed = _Feed(source, lines)
    reader = csv.reader(feed, delimiter=layout.separator, quoting=_quoting(layout.quoted), strict=True)
    first_line = layout.skipped + 1
    try:
        for fields in reader:
            yield first_line, fields
            first_line = layout.skipped + reader.line_num + 1
            feed.length = 0
    except csv.Error as error:
        raise PromptFileError(f"{source}: line {first_line}: {error}") from error


def _quoting(quoted: bool) -> Literal[0, 3]:
    return csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE


# ------------------------------------------------------------------------------ layout


def _layout(source: Path, encoding: str, reading: Reading) -> _Layout:
    lines = lines_of(source, encoding)
    sample = list(_sample(lines))
    lines.close()  # type: ignore[attr-defined]  # a generator: it closes the file
    declared = _DECLARED.fullmatch(sample[0]) if sample else None
    skipped = int(declared is not None)
    notes: tuple[str, ...] = ()
    if reading.separator is not None:
        if reading.separator not in {*SEPARATORS, NO_SEPARATOR}:
            raise PromptFileError(f"{source}: there is no separator “{reading.separator}”")
        separator = SEPARATORS.get(reading.separator, "")
    elif declared is not None and declared[1] not in '"\r\n':
        separator = declared[1]
        notes = (f"The first line, “sep={separator}”, names the separator.",)
    else:
        separator = _guess(source, encoding, sample)
    if reading.quoting is not None:
        quoted = reading.quoting and bool(separator)
    else:
        quoted = _quotes_tabs(source, encoding, skipped) if separator == "\t" else bool(separator)
    if not quoted and any(f"\n{line}".find('\n"') >= 0 or f'{separator}"' in line for line in sample):
        notes += ("Quotation marks are read as they stand.",)
    if not separator:
        notes += ("There are no columns: every line is a prompt, commas belong to it.",)
    return _Layout(separator, quoted, skipped, notes)


def _sample(lines: Iterator[str]) -> Iterator[str]:
    length = 0
    for line in islice(lines, SAMPLE):
        yield line
        length += len(line)
        if length > SAMPLE_CHARACTERS:
            return


def _guess(source: Path, encoding: str, sample: list[str]) -> str:
    """Return the separator: the one under which the header holds known names, else the one that gives a table."""
    tabs = source.suffix.lower() in TABS
    parsed = {each: _parse_sample(sample, each) for each in (["\t", ",", ";"] if tabs else [",", ";", "\t"])}
    named = [each for each, rows in parsed.items() if rows and len(rows[0]) > 1 and any(map(is_known, rows[0]))]
    if named:
        return max(named, key=lambda each: len(parsed[each][0]))
    even = [each for each, rows in parsed.items() if rows and len(rows[0]) > 1 and len({*map(len, rows)}) == 1]
    if even:
        return max(even, key=lambda each: len(parsed[each][0]))
    if tabs:
        return "\t"
    return "," if _has_one_field(source, encoding) else ""


def _parse_sample(sample: list[str], separator: str) -> list[list[str]]:
    quoting = _quoting(separator != "\t")
    rows: list[list[str]] = []
    try:
        rows.extend(filter(None, csv.reader(sample, delimiter=separator, quoting=quoting)))
    except csv.Error:
        return rows
    return rows[:-1] if len(sample) >= SAMPLE and len(rows) > 1 else rows  # the last one may be cut


def _has_one_field(source: Path, encoding: str) -> bool:
    """Whether every record has one field when commas separate and quotes enclose."""
    try:
        return all(len(fields) < 2 for _, fields in _records(source, encoding, _Layout(",", quoted=True)))
    except PromptFileError:
        return False


def _quotes_tabs(source: Path, encoding: str, skipped: int) -> bool:
    """Whether a table of tabs encloses fields in quotation marks.

    It does where lines taken singly do not give a table, or where every field that begins with a mark is well quoted
    and there is proof that a program wrote it: a mark doubled inside, or a quoted heading.
    """
    widths: set[int] = set()
    opened = broken = proof = False
    for number, line in enumerate(islice(lines_of(source, encoding), skipped, None)):
        fields = line.rstrip("\r\n").split("\t")
        if fields != [""]:
            widths.add(len(fields))
        for field in fields:
            if field.startswith('"'):
                opened = True
                inner = field[1:-1]
                if len(field) < 2 or not field.endswith('"') or '"' in inner.replace('""', ""):
                    broken = True
                elif number == 0 or '""' in inner:
                    proof = True
    if len(widths) > 1:
        return opened
    return proof and not broken
