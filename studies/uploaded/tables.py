"""Read a table that says which file belongs to which prompt, or which two files are a pair."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from evenhand.errors import InputError
from evenhand.sampling.encodings import encoding_of, lines_of
from evenhand.sampling.prompts import clean
from evenhand.studies.uploaded.names import safe_name

ROW_LIMIT = 50_000
STRATUM_LIMIT = 20  # characters, as the record's
SEED_LIMIT = 2**62
SEPARATORS = ",;\t"
KNOWN = {
    "prompt": ("prompt", "prompts", "text", "caption"),
    "index": ("index", "prompt_index", "number"),
    "file": ("file", "file_name", "filename", "image", "picture"),
    "arm": ("arm", "set", "model"),
    "first": ("first", "first_file", "baseline"),
    "second": ("second", "second_file", "candidate"),
    "stratum": ("stratum",),
    "seed": ("seed",),
}


class TableError(InputError):
    """A table that cannot be used; the message names the line."""


@dataclass(frozen=True)
class Entry:
    """A row: its prompt by text or by index, and files by arm; ``""`` is the arm that the file's folder names."""

    line: int
    prompt: str
    index: int | None
    files: dict[str, str]
    stratum: str = ""
    seed: int | None = None


@dataclass(frozen=True)
class Table:
    """A table's rows. ``paired``: each row is a pair of its own, of a first and a second file."""

    name: str
    entries: tuple[Entry, ...]
    paired: bool

    @property
    def by_text(self) -> bool:
        """Whether rows name their prompts by text."""
        return any(entry.index is None for entry in self.entries)


def read_table(path: Path, name: str) -> Table:
    """Read a table of comma-, semicolon- or tab-separated values with a heading. Raises ``TableError``."""
    try:
        rows = _rows(path, name)
    except csv.Error as error:
        raise TableError(f"{name}: {error}") from error
    except TableError:
        raise
    except InputError as error:
        raise TableError(str(error).replace(str(path), name)) from error
    heading, *rest = rows or [(1, [])]
    columns = _columns(name, heading[1])
    paired = {"first", "second"} <= set(columns)
    if (not paired and "file" not in columns) or not {"prompt", "index"} & set(columns):
        raise TableError(
            f"{name}: the heading names {', '.join(heading[1]) or 'nothing'}; a table of files has prompt or index, "
            "and file; a table of pairs has prompt or index, first and second"
        )
    entries = tuple(_entry(name, line, columns, cells) for line, cells in rest if any(cell.strip() for cell in cells))
    if not entries:
        raise TableError(f"{name}: holds no rows below its heading")
    return Table(name, entries, paired)


def _rows(path: Path, name: str) -> list[tuple[int, list[str]]]:
    lines = list(islice(lines_of(path, encoding_of(path)), ROW_LIMIT + 1))
    if len(lines) > ROW_LIMIT:
        raise TableError(f"{name}: has more than {ROW_LIMIT:,} lines")
    skipped = int(bool(lines) and lines[0].lower().startswith("sep="))  # Excel's own
    del lines[:skipped]
    first = lines[0] if lines else ""
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    return [(reader.line_num + skipped, row) for row in reader]


def _columns(name: str, heading: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    folded = [cell.strip().lower().replace(" ", "_") for cell in heading]
    for column, names in KNOWN.items():
        places = [place for place, cell in enumerate(folded) if cell in names]
        if len(places) > 1:
            raise TableError(f"{name}: two columns could be “{column}”")
        if places:
            found[column] = places[0]
    return found


def _entry(name: str, line: int, columns: dict[str, int], cells: Sequence[str]) -> Entry:
    def cell(column: str) -> str:
        place = columns.get(column)
        if place is None:
            return ""
        if place >= len(cells):
            raise TableError(f"{name}, line {line}: has {len(cells)} cells, fewer than the heading")
        return cells[place].strip()

    try:
        index = _whole(cell("index"), "index", 10**9)
        prompt = clean(cell("prompt")) if index is None else ""
        if "first" in columns and "second" in columns:
            files = {arm: safe_name(cell(arm)) for arm in ("first", "second")}
        else:
            files = {cell("arm"): safe_name(cell("file"))}
        stratum = cell("stratum")
        if len(stratum) > STRATUM_LIMIT or "\0" in stratum:
            raise TableError(f"the stratum has {len(stratum)} characters, at most {STRATUM_LIMIT} are kept")
        return Entry(line, prompt, index, files, stratum, _whole(cell("seed"), "seed", SEED_LIMIT))
    except InputError as error:
        text = str(error)
        raise TableError(text if text.startswith(name) else f"{name}, line {line}: {text}") from error


def _whole(text: str, what: str, most: int) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 20 or int(text) > most:
        raise TableError(f"the {what} “{text[:40]}” is no whole number from 0 to {most}")
    return int(text)
