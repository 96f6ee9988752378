"""Read the raw rows of prompt files: tables, plain text, JSON lines, COCO's annotations.

Each kind of file has a generator of rows. An error names the file and the line, or in a ``.json`` file the index in its
list.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ijson.backends.python as ijson  # the C parser silently replaces half of a surrogate pair with “?”
from ijson.common import JSONError

from evenhand.errors import InputError

if TYPE_CHECKING:
    from _csv import Reader

PROMPT_COLUMNS = ("prompt", "caption", "text")
ID_COLUMNS = ("image_id", "id")
SEED_COLUMNS = ("evaluation_seed", "seed")
SOURCE_ID_LIMIT = 100  # characters, the width of the database column
ANNOTATIONS = "annotations"  # the key of COCO's captions

Row = tuple[str, str, str, int | None]  # place, raw prompt, source id, seed


class PromptFileError(InputError):
    """A prompt file cannot be used; the message names the file and the line or column."""


def rows_of(source: Path, column: str | None = None) -> Iterator[Row]:
    """Return the rows of a file; its suffix decides its kind, unknown suffixes mean plain text, one prompt a line."""
    kind = source.suffix.lower()
    if kind in {".csv", ".tsv"}:
        return _table(source, column)
    if kind in {".jsonl", ".ndjson"}:
        return _json_lines(source, column)
    if kind == ".json":
        return _json(source, column)
    if column is not None:
        raise PromptFileError(f"{source}: plain text has no column {column!r}; a table ends in .csv or .tsv")
    return _plain(source)


# ------------------------------------------------------------------------------ lines


def _lines(source: Path) -> Iterator[str]:
    """Yield lines with their line ends, decoded one by one so that an error can name its line."""
    number = 0
    try:
        with source.open("rb") as handle:
            for number, data in enumerate(handle):
                text = data.removeprefix(b"\xef\xbb\xbf").decode() if number == 0 else data.decode()
                # universal newlines: a lone carriage return ends a line too
                yield from io.StringIO(text, newline="") if "\r" in text else (text,)
    except OSError as error:
        raise PromptFileError(f"{source}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise PromptFileError(f"{source}: line {number + 1}: is not UTF-8 ({error.reason})") from error


def _plain(source: Path) -> Iterator[Row]:
    """Yield one prompt a line; empty lines are skipped."""
    for number, line in enumerate(_lines(source), 1):
        raw = line.rstrip("\r\n")
        if raw.strip():
            yield f"line {number}", raw, str(number), None


# ------------------------------------------------------------------------------ tables


def _table(source: Path, column: str | None) -> Iterator[Row]:
    reader = csv.reader(_lines(source), delimiter="\t" if source.suffix.lower() == ".tsv" else ",", strict=True)
    records = _records(source, reader)
    header = [name.strip() for name in next(records, (1, []))[1]]
    if not any(header):
        raise PromptFileError(f"{source}: holds no prompts")
    prompt = header.index(_prompt_column(source, header, column))
    identity, seed = _first(source, header, ID_COLUMNS), _first(source, header, SEED_COLUMNS)
    for line, row in records:
        if not row:
            continue
        place = f"line {line}"
        if len(row) != len(header):
            raise PromptFileError(f"{source}: {place}: {len(row)} fields, the header has {len(header)}")
        source_id = str(line) if identity is None else _source_id(source, place, identity, row[header.index(identity)])
        yield place, row[prompt], source_id, _seed(source, place, "" if seed is None else row[header.index(seed)])


def _records(source: Path, reader: Reader) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with the physical line on which each begins; an error names that line."""
    first_line = 1
    try:
        for row in reader:
            yield first_line, row
            first_line = reader.line_num + 1
    except csv.Error as error:
        raise PromptFileError(f"{source}: line {first_line}: {error}") from error


# ------------------------------------------------------------------------------ JSON


def _json_lines(source: Path, column: str | None) -> Iterator[Row]:
    def values() -> Iterator[tuple[str, str, Any]]:
        for number, line in enumerate(_lines(source), 1):
            if line.strip():
                try:
                    yield f"line {number}", str(number), json.loads(line)
                except ValueError as error:
                    raise PromptFileError(f"{source}: line {number}: is not JSON ({error})") from error

    return _objects(source, values(), column)


def _json(source: Path, column: str | None) -> Iterator[Row]:
    """Stream COCO's captions in the order of the file, or a plain list of prompts or of objects with a prompt."""
    try:
        with source.open("rb") as handle:
            if handle.read(3) != codecs.BOM_UTF8:
                handle.seek(0)
            name, entries = _entries(source, ijson.parse(handle, use_float=True))
            yield from _objects(source, ((f"{name}[{i}]", str(i), entry) for i, entry in enumerate(entries)), column)
    except OSError as error:
        raise PromptFileError(f"{source}: cannot be read ({error.strerror or error})") from error
    except (JSONError, ValueError, RecursionError) as error:
        if isinstance(error, PromptFileError):
            raise
        raise PromptFileError(f"{source}: is not JSON ({' '.join(str(error).split())})") from error


def _entries(source: Path, events: Iterator[tuple[str, str, Any]]) -> tuple[str, Iterator[Any]]:
    """Return the name of the list of prompts, and an iterator over its entries."""
    kind = next(events)[1]
    if kind == "start_array":
        return "prompts", ijson.items(events, "item")
    if kind == "start_map" and any(each[:2] == (ANNOTATIONS, "start_array") for each in events):
        return ANNOTATIONS, ijson.items(events, f"{ANNOTATIONS}.item")
    raise PromptFileError(f"{source}: is neither a list of prompts nor COCO's object with a list “{ANNOTATIONS}”")


def _objects(source: Path, values: Iterable[tuple[str, str, Any]], column: str | None) -> Iterator[Row]:
    """Yield the rows of strings or objects; the first object decides which fields hold prompt, id and seed."""
    names: tuple[str, str | None, str | None] | None = None
    for place, list_number, value in values:
        if isinstance(value, str) and column is None:
            yield place, value, list_number, None
            continue
        if not isinstance(value, dict):
            raise PromptFileError(f"{source}: {place}: is no object with a prompt, but {json.dumps(value)[:60]}")
        if names is None:
            header = list(value)
            names = (
                _prompt_column(source, header, column),
                _first(source, header, ID_COLUMNS),
                _first(source, header, SEED_COLUMNS),
            )
        prompt, identity, seed = names
        if not isinstance(value.get(prompt), str):
            raise PromptFileError(f"{source}: {place}: there is no text under {prompt!r}")
        own_id = value.get(identity) if identity is not None else None
        source_id = list_number if own_id is None else _source_id(source, place, str(identity), str(own_id))
        own_seed = value.get(seed) if seed is not None else None
        yield place, value[prompt], source_id, _seed(source, place, "" if own_seed is None else str(own_seed))


# ------------------------------------------------------------------------------ columns and values


def _prompt_column(source: Path, header: list[str], column: str | None) -> str:
    if column is not None:
        named_column = _first(source, header, (column,))
        if named_column is None:
            raise PromptFileError(f"{source}: there is no column {column!r}; the columns are {', '.join(header)}")
        return named_column
    default_column = _first(source, header, PROMPT_COLUMNS)
    if default_column is not None:
        return default_column
    if len(header) == 1:
        return header[0]
    raise PromptFileError(f"{source}: which column holds the prompts? The columns are {', '.join(header)}")


def _first(source: Path, header: list[str], names: tuple[str, ...]) -> str | None:
    """Return the first of these names that is in the header, or None."""
    name = next((name for name in names if name in header), None)
    if name is not None and header.count(name) > 1:
        raise PromptFileError(f"{source}: the column {name!r} occurs {header.count(name)} times")
    return name


def _source_id(source: Path, place: str, column: str, value: str) -> str:
    name = value.strip()
    if len(name) > SOURCE_ID_LIMIT:
        raise PromptFileError(
            f"{source}: {place}: the {column} has {len(name)} characters, at most {SOURCE_ID_LIMIT} are kept"
        )
    if "\0" in name:
        raise PromptFileError(f"{source}: {place}: the {column} holds a NUL character")
    return name


def _seed(source: Path, place: str, raw_seed: str) -> int | None:
    value = raw_seed.strip()
    if not value:
        return None
    if not value.isdecimal() or len(value) > 19 or int(value) >= 2**63:  # 2^63 has 19 digits
        raise PromptFileError(f"{source}: {place}: the seed {value!r} is not a whole number from 0 to 2^63 − 1")
    return int(value)
