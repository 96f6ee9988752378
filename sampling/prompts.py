"""Read prompt files (CSV, TSV, JSON, JSONL, plain text) into clean prompts with their source ids.

Files are streamed, so that memory does not grow with the number of prompts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from evenhand.errors import InputError
from evenhand.sampling.files import PROMPT_COLUMNS, SOURCE_ID_LIMIT, PromptFileError, rows_of

__all__ = [
    "PROMPT_COLUMNS",
    "SOURCE_ID_LIMIT",
    "PromptFile",
    "PromptFileError",
    "SourcePrompt",
    "clean",
    "prompt_line",
    "prompts_sha256",
    "read_prompts",
    "stream_prompts",
]


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
    """Trim a prompt and reduce inner white space to one space. Raises ``ValueError`` for an invalid prompt."""
    text = " ".join(raw.split())
    if not text:
        raise InputError("the prompt is empty")
    if "\0" in text:
        raise InputError("the prompt holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise InputError(f"the prompt's character {error.start} is no Unicode text") from error
    return text


def stream_prompts(path: str | Path, column: str | None = None, limit: int | None = None) -> Iterator[SourcePrompt]:
    """Yield the prompts of a file; its suffix decides its kind (.csv, .tsv, .jsonl, .json, else plain text).

    Inner white space, newlines inside quotes included, becomes one space. ``column`` names the prompts' column of a
    table or field of an object (default: prompt, caption or text, or the only one). ``limit`` takes only the
    first prompts of the file; the paper's set is the first 30,000 captions of COCO's val2014.
    Raises ``PromptFileError``.
    """
    source = Path(path)
    if limit is not None and limit < 1:
        raise PromptFileError(f"{source}: the limit must be at least 1, not {limit}")
    count = 0
    for place, raw, source_id, seed in rows_of(source, column):
        try:
            text = clean(raw)
        except ValueError as error:
            raise PromptFileError(f"{source}: {place}: {error}") from error
        yield SourcePrompt(text, source_id, seed, text != raw)
        count += 1
        if count == limit:
            return
    if not count:
        raise PromptFileError(f"{source}: holds no prompts")
    if limit is not None:
        raise PromptFileError(f"{source}: holds {count} prompts, the first {limit} were asked for")


def read_prompts(path: str | Path, column: str | None = None, limit: int | None = None) -> PromptFile:
    """Read all prompts of a file into memory; see ``stream_prompts``."""
    return PromptFile(Path(path), list(stream_prompts(path, column, limit)))
