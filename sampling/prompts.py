"""Read prompt files into clean prompts with their source ids, as a stream whose memory does not grow with the file.

Tables of text (CSV, TSV), Excel workbooks, Parquet, JSON, JSON lines, plain text, folders and ZIP archives of one text
a file; ``Reading`` says how, and what it leaves open is found out and told (``Found``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from evenhand.errors import InputError
from evenhand.sampling import containers
from evenhand.sampling.columns import PROMPT_COLUMNS
from evenhand.sampling.encodings import encoding_of, encoding_title, lines_of
from evenhand.sampling.json_files import json_file, json_lines
from evenhand.sampling.reading import (
    PROMPT_LIMIT,
    SOURCE_ID_LIMIT,
    Found,
    PromptFileError,
    Reading,
    Row,
    Rows,
    printable,
)
from evenhand.sampling.tables import table

__all__ = [
    "ENDINGS",
    "PROMPT_COLUMNS",
    "SOURCE_ID_LIMIT",
    "Problem",
    "PromptFile",
    "PromptFileError",
    "Reading",
    "SourcePrompt",
    "clean",
    "open_rows",
    "prompt_line",
    "prompt_of",
    "prompts_sha256",
    "read_prompts",
    "stream_prompts",
]

_WHOLE = re.compile(r"(\d+)(?:\.0*)?", re.ASCII)  # pandas writes a column with gaps as 1.0


@dataclass(frozen=True, slots=True)
class SourcePrompt:
    """One prompt, trimmed, with the file's own id and seed of its row where it has them."""

    text: str
    source_id: str = ""
    seed: int | None = None
    trimmed: bool = field(default=False, compare=False)  # whether the file had more white space


@dataclass
class PromptFile:
    """The prompts of a file in its order, duplicates included."""

    path: Path
    prompts: list[SourcePrompt] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """Texts of the prompts."""
        return [prompt.text for prompt in self.prompts]

    @property
    def trimmed(self) -> int:
        """Number of prompts whose white space was trimmed."""
        return sum(prompt.trimmed for prompt in self.prompts)

    @property
    def duplicates(self) -> int:
        """Number of prompts whose text occurred before."""
        return len(self.prompts) - len({prompt.text for prompt in self.prompts})

    @property
    def sha256(self) -> str:
        """Hash of the texts in order."""
        return prompts_sha256(self.texts)


class Problem(InputError):
    """A row that cannot be used. ``kind``: empty, long, text, id or seed."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def prompt_line(text: str) -> bytes:
    """Encode a text for the hash of its set: a JSON string on a line, so that no two lists give the same bytes."""
    return json.dumps(text, ensure_ascii=False).encode() + b"\n"


def prompts_sha256(texts: Iterable[str]) -> str:
    """Compute the SHA-256 over the texts in order, each as a JSON string on a line."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(prompt_line(text))
    return digest.hexdigest()


def clean(raw: str) -> str:
    """Trim a prompt and reduce inner white space to one space. Raises ``Problem`` for an invalid prompt."""
    if len(raw) > 100 * PROMPT_LIMIT:  # before its words are taken apart
        raise Problem("long", f"the prompt has {len(raw):,} characters, at most {PROMPT_LIMIT:,} are read")
    text = " ".join(raw.split())
    if not text:
        raise Problem("empty", "the prompt is empty")
    if len(text) > PROMPT_LIMIT:
        raise Problem("long", f"the prompt has {len(text):,} characters, at most {PROMPT_LIMIT:,} are read")
    if "\0" in text:
        raise Problem("text", "the prompt holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise Problem("text", f"the prompt's character {error.start} is no Unicode text") from error
    return text


# ------------------------------------------------------------------------------ files


def _plain(source: Path, reading: Reading) -> Rows:
    """Return the rows of plain text, one prompt a line; empty lines are skipped."""
    if reading.column is not None:
        shown = printable(reading.column, 40)
        raise PromptFileError(f"{source}: plain text has no column {shown!r}; a table ends in .csv or .tsv")
    encoding = encoding_of(source, reading.encoding)

    def rows() -> Iterator[Row]:
        for number, line in enumerate(lines_of(source, encoding), 1):
            raw = line.rstrip("\r\n")
            if raw.strip():
                yield Row(f"line {number}", raw, str(number))

    return Rows(Found("plain text", encoding_title(encoding)), rows())


Reader = Callable[[Path, Reading], Rows]
ENDINGS: dict[str, Reader] = {
    ".csv": table,
    ".tsv": table,
    ".tab": table,
    ".txt": _plain,
    ".text": _plain,
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": json_file,
    ".xlsx": containers.workbook,
    ".parquet": containers.parquet,
    ".zip": containers.archive,
    "": _plain,
}


def open_rows(path: str | Path, reading: Reading | None = None) -> Rows:
    """Find out how a file or folder is read, and return its rows. Raises ``PromptFileError``."""
    source = Path(path)
    try:
        if source.is_dir():
            return containers.folder(source, reading or Reading())
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise PromptFileError(f"{source}: cannot be read ({error.strerror or error})") from error
    ending = source.suffix.lower()
    if ending not in ENDINGS:
        known = ", ".join(filter(None, ENDINGS))
        raise PromptFileError(f"{source}: the ending “{printable(ending, 20)}” is none that is read; those are {known}")
    return ENDINGS[ending](source, reading or Reading())


def prompt_of(row: Row, reading: Reading) -> SourcePrompt:
    """Return the prompt of a row. Raises ``Problem``."""
    text = clean(row.text)
    own_id = None if reading.ignore_ids else row.own_id
    source_id = row.number[:SOURCE_ID_LIMIT] if own_id is None else _source_id(own_id)
    return SourcePrompt(text, source_id, None if reading.ignore_seeds else _seed(row.seed), text != row.text)


def stream_prompts(
    path: str | Path, column: str | None = None, limit: int | None = None, reading: Reading | None = None
) -> Iterator[SourcePrompt]:
    """Yield the prompts of a file or folder; its ending decides its kind.

    Inner white space, newlines inside quotes included, becomes one space. ``column`` names the prompts' column of a
    table or field of an object (default: prompt, caption, text or description, in capitals or the plural too, or the
    only one). ``limit`` takes only the first prompts of the file; the paper's set is the first 30,000 captions of
    COCO's val2014. ``reading`` says more. Raises ``PromptFileError``.
    """
    source = Path(path)
    choices = reading or Reading()
    choices = replace(choices, column=column or choices.column, limit=choices.limit if limit is None else limit)
    if choices.limit is not None and choices.limit < 1:
        raise PromptFileError(f"{source}: the limit must be at least 1, not {choices.limit}")
    count = 0
    for row in open_rows(source, choices).rows:
        try:
            prompt = prompt_of(row, choices)
        except Problem as error:
            if is_left_out(error, choices):
                continue
            raise PromptFileError(f"{source}: {row.place}: {error}") from error
        count += 1
        if count > choices.most:
            raise PromptFileError(f"{source}: holds more than {choices.most:,} prompts")
        yield prompt
        if count == choices.limit:
            return
    if not count:
        raise PromptFileError(f"{source}: holds no prompts")
    if choices.limit is not None:
        raise PromptFileError(f"{source}: holds {count:,} prompts, the first {choices.limit:,} were asked for")


def is_left_out(problem: Problem, reading: Reading) -> bool:
    """Whether a row with this problem is left out, as was asked."""
    return (problem.kind == "empty" and reading.skip_empty) or (problem.kind == "long" and reading.skip_long)


def read_prompts(
    path: str | Path, column: str | None = None, limit: int | None = None, reading: Reading | None = None
) -> PromptFile:
    """Read all prompts of a file into memory; see ``stream_prompts``."""
    return PromptFile(Path(path), list(stream_prompts(path, column, limit, reading)))


# ------------------------------------------------------------------------------ ids and seeds


def _source_id(value: str) -> str:
    name = value.strip()
    if len(name) > SOURCE_ID_LIMIT:
        raise Problem("id", f"the id has {len(name)} characters, at most {SOURCE_ID_LIMIT} are kept")
    if "\0" in name:
        raise Problem("id", "the id holds a NUL character")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in name):
        raise Problem("id", "the id is no Unicode text")
    return name


def _seed(raw: str) -> int | None:
    value = raw.strip()
    if not value or value.casefold() in {"nan", "null", "none", "<na>"}:
        return None
    whole = _WHOLE.fullmatch(value) if len(value) < 60 else None
    if whole is None or len(whole[1].lstrip("0")) > 19 or int(whole[1]) >= 2**63:  # 2^63 has 19 digits
        raise Problem("seed", f"the seed {printable(value, 40)!r} is not a whole number from 0 to 2^63 − 1")
    return int(whole[1])
