"""Prompt files: CSV, TSV and plain text in, clean prompts with their source ids out."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROMPT_COLUMNS = ("prompt", "caption", "text")
ID_COLUMNS = ("image_id", "id")
SEED_COLUMNS = ("evaluation_seed", "seed")


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


def read_prompts(path: str | Path, column: str | None = None) -> PromptFile:
    """Read a prompt file; its kind is told by its ending (.csv, .tsv, anything else: one prompt a line).

    Inner white space, newlines inside quotes included, becomes one space. ``column`` names the prompts' column of a
    table (default: prompt, caption or text, or the only one). Raises ``PromptFileError``.
    """
    source = Path(path)
    result = PromptFile(source)
    try:
        with source.open(encoding="utf-8-sig", newline="") as lines:
            rows = _table(source, lines, column) if source.suffix.lower() in {".csv", ".tsv"} else _lines(lines)
            for line, raw, source_id, seed in rows:
                text = " ".join(raw.split())
                if not text:
                    raise PromptFileError(f"{source}: line {line}: the prompt is empty")
                if "\0" in text:
                    raise PromptFileError(f"{source}: line {line}: the prompt holds a NUL character")
                result.trimmed += text != raw
                result.prompts.append(SourcePrompt(text, source_id, seed))
    except OSError as error:
        raise PromptFileError(f"{source}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise PromptFileError(f"{source}: is not UTF-8 (byte {error.start}: {error.reason})") from error
    except csv.Error as error:
        raise PromptFileError(f"{source}: {error}") from error
    if not result.prompts:
        raise PromptFileError(f"{source}: holds no prompts")
    return result


Row = tuple[int, str, str, int | None]  # physical line, raw prompt, source id, seed


def _lines(lines: Iterable[str]) -> Iterator[Row]:
    """One prompt a line; empty lines separate."""
    for number, line in enumerate(lines, 1):
        raw = line.rstrip("\r\n")
        if raw.strip():
            yield number, raw, str(number), None


def _table(source: Path, lines: Iterable[str], column: str | None) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter="\t" if source.suffix.lower() == ".tsv" else ",", strict=True)
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise PromptFileError(f"{source}: holds no prompts")
    prompt = header.index(_prompt_column(source, header, column))
    identity, seed = _first(header, ID_COLUMNS), _first(header, SEED_COLUMNS)
    began = reader.line_num + 1
    for row in reader:
        line, began = began, reader.line_num + 1
        if not row:
            continue
        if len(row) != len(header):
            raise PromptFileError(f"{source}: line {line}: {len(row)} fields, the header has {len(header)}")
        source_id = row[identity].strip() if identity is not None else str(line)
        yield line, row[prompt], source_id, _seed(source, line, row, seed)


def _prompt_column(source: Path, header: list[str], column: str | None) -> str:
    if column is not None:
        if column in header:
            return column
        raise PromptFileError(f"{source}: there is no column {column!r}; the columns are {', '.join(header)}")
    known = _first(header, PROMPT_COLUMNS)
    if known is not None:
        return header[known]
    if len(header) == 1:
        return header[0]
    raise PromptFileError(f"{source}: which column holds the prompts? The columns are {', '.join(header)}")


def _first(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _seed(source: Path, line: int, row: list[str], column: int | None) -> int | None:
    value = row[column].strip() if column is not None else ""
    if not value:
        return None
    if not value.isdecimal() or int(value) >= 2**63:
        raise PromptFileError(f"{source}: line {line}: the seed {value!r} is not a whole number from 0 to 2^63 − 1")
    return int(value)
