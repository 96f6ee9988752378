"""Prompt files: CSV, TSV and plain text in, clean prompts with their source ids out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _csv import Reader

PROMPT_COLUMNS = ("prompt", "caption", "text")
ID_COLUMNS = ("image_id", "id")
SEED_COLUMNS = ("evaluation_seed", "seed")
SOURCE_ID_LIMIT = 100  # characters; a record holds no more


class PromptFileError(ValueError):
    """A prompt file that cannot be used; the message names the file and the line or column."""


@dataclass(frozen=True)
class SourcePrompt:
    """One prompt, trimmed, with the file's own id and seed of its row where it has them."""

    text: str
    source_id: str = ""
    seed: int | None = None


@dataclass
class PromptFile:
    """What a file held: prompts in its order, duplicates kept, and how many rows were trimmed or repeated."""

    path: Path
    prompts: list[SourcePrompt] = field(default_factory=list)
    trimmed: int = 0

    @property
    def texts(self) -> list[str]:
        """The prompts' texts."""
        return [prompt.text for prompt in self.prompts]

    @property
    def duplicates(self) -> int:
        """Prompts whose text occurred before."""
        return len(self.prompts) - len({prompt.text for prompt in self.prompts})

    @property
    def sha256(self) -> str:
        """Hash of the texts in order."""
        return prompts_sha256(self.texts)


def prompts_sha256(texts: Iterable[str]) -> str:
    """SHA-256 over the texts in order, each as a JSON string on a line: no two lists give the same bytes."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(json.dumps(text, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def clean(raw: str) -> str:
    """The prompt as it is kept: trimmed, inner white space one space. Raises ``ValueError`` for what is no prompt."""
    text = " ".join(raw.split())
    if not text:
        raise ValueError("the prompt is empty")
    if "\0" in text:
        raise ValueError("the prompt holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise ValueError(f"the prompt's character {error.start} is no Unicode text") from error
    return text


def read_prompts(path: str | Path, column: str | None = None) -> PromptFile:
    """Read a prompt file; its kind is told by its ending (.csv, .tsv, anything else: one prompt a line).

    Inner white space, newlines inside quotes included, becomes one space. ``column`` names the prompts' column of a
    table (default: prompt, caption or text, or the only one). Raises ``PromptFileError``.
    """
    source = Path(path)
    result = PromptFile(source)
    lines = io.StringIO(_decoded(source), newline="")
    if source.suffix.lower() in {".csv", ".tsv"}:
        rows = _table(source, lines, column)
    elif column is None:
        rows = _lines(lines)
    else:
        raise PromptFileError(f"{source}: plain text has no column {column!r}; a table ends in .csv or .tsv")
    for line, raw, source_id, seed in rows:
        try:
            text = clean(raw)
        except ValueError as error:
            raise PromptFileError(f"{source}: line {line}: {error}") from error
        result.trimmed += text != raw
        result.prompts.append(SourcePrompt(text, source_id, seed))
    if not result.prompts:
        raise PromptFileError(f"{source}: holds no prompts")
    return result


def _decoded(source: Path) -> str:
    try:
        data = source.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise PromptFileError(f"{source}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        # error.object: without the byte order mark, which the codec has taken off and does not count
        line = error.object.count(b"\n", 0, error.start) + 1
        raise PromptFileError(f"{source}: line {line}: is not UTF-8 ({error.reason})") from error


Row = tuple[int, str, str, int | None]  # physical line, raw prompt, source id, seed


def _lines(lines: Iterable[str]) -> Iterator[Row]:
    """One prompt a line; empty lines separate."""
    for number, line in enumerate(lines, 1):
        raw = line.rstrip("\r\n")
        if raw.strip():
            yield number, raw, str(number), None


def _table(source: Path, lines: Iterable[str], column: str | None) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter="\t" if source.suffix.lower() == ".tsv" else ",", strict=True)
    records = _records(source, reader)
    header = [name.strip() for name in next(records, (1, []))[1]]
    if not any(header):
        raise PromptFileError(f"{source}: holds no prompts")
    prompt = _prompt_column(source, header, column)
    identity, seed = _first(source, header, ID_COLUMNS), _first(source, header, SEED_COLUMNS)
    for line, row in records:
        if not row:
            continue
        if len(row) != len(header):
            raise PromptFileError(f"{source}: line {line}: {len(row)} fields, the header has {len(header)}")
        source_id = str(line) if identity is None else _source_id(source, line, header[identity], row[identity])
        yield line, row[prompt], source_id, _seed(source, line, row, seed)


def _records(source: Path, reader: Reader) -> Iterator[tuple[int, list[str]]]:
    """Rows with the physical line each begins on; a malformed row is named by that line."""
    began = 1
    try:
        for row in reader:
            yield began, row
            began = reader.line_num + 1
    except csv.Error as error:
        raise PromptFileError(f"{source}: line {began}: {error}") from error


def _prompt_column(source: Path, header: list[str], column: str | None) -> int:
    if column is not None:
        chosen = _first(source, header, (column,))
        if chosen is None:
            raise PromptFileError(f"{source}: there is no column {column!r}; the columns are {', '.join(header)}")
        return chosen
    known = _first(source, header, PROMPT_COLUMNS)
    if known is not None:
        return known
    if len(header) == 1:
        return 0
    raise PromptFileError(f"{source}: which column holds the prompts? The columns are {', '.join(header)}")


def _first(source: Path, header: list[str], names: tuple[str, ...]) -> int | None:
    """Where the first of these names stands in the header."""
    name = next((name for name in names if name in header), None)
    if name is None:
        return None
    if header.count(name) > 1:
        raise PromptFileError(f"{source}: the column {name!r} occurs {header.count(name)} times")
    return header.index(name)


def _source_id(source: Path, line: int, column: str, value: str) -> str:
    name = value.strip()
    if len(name) > SOURCE_ID_LIMIT:
        raise PromptFileError(
            f"{source}: line {line}: the {column} has {len(name)} characters, at most {SOURCE_ID_LIMIT} are kept"
        )
    if "\0" in name:
        raise PromptFileError(f"{source}: line {line}: the {column} holds a NUL character")
    return name


def _seed(source: Path, line: int, row: list[str], column: int | None) -> int | None:
    value = row[column].strip() if column is not None else ""
    if not value:
        return None
    if not value.isdecimal() or len(value) > 19 or int(value) >= 2**63:  # 2^63 has 19 digits
        raise PromptFileError(f"{source}: line {line}: the seed {value!r} is not a whole number from 0 to 2^63 − 1")
    return int(value)
