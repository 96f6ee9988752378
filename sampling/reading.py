"""Say how a prompt file is to be read, what was found out about it, and within which limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from evenhand.errors import InputError

FILE_LIMIT = 512_000_000  # bytes of a file, or of an archive's texts together
ROW_LIMIT = 5_000_000
PROMPT_LIMIT = 10_000  # characters
LINE_LIMIT = 1_000_000  # characters of a line, a record or an entry
COLUMN_LIMIT = 1000
SOURCE_ID_LIMIT = 100  # characters, the width of the database column
MESSAGE_LIMIT = 600  # characters of an error
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
NO_SEPARATOR = "none"  # every line is one prompt


class PromptFileError(InputError):
    """A prompt file cannot be used; the message names the file and the line or column, and is printable and short."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, MESSAGE_LIMIT))


class EncodingError(PromptFileError):
    """A text is not in the encoding that it was read in; another one may be named."""


class ColumnError(PromptFileError):
    """The column of the prompts is not known; ``columns`` are those that there are."""

    def __init__(self, message: str, columns: tuple[str, ...]) -> None:
        super().__init__(message)
        self.columns = columns


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a prompt file. None and False: find it out, or refuse what cannot be used.

    encoding: a key of ``encodings.ENCODINGS``. separator: a key of ``SEPARATORS`` or ``NO_SEPARATOR``. quoting: whether
    quotation marks enclose fields. header: whether the first row names the columns. column: the prompts' column.
    skip_empty: leave out rows without a prompt. skip_long: leave out prompts of more than ``PROMPT_LIMIT`` characters.
    ignore_ids, ignore_seeds: use no column of that kind. limit: take only so many prompts. most: refuse a file
    of more.
    """

    encoding: str | None = None
    separator: str | None = None
    quoting: bool | None = None
    header: bool | None = None
    column: str | None = None
    skip_empty: bool = False
    skip_long: bool = False
    ignore_ids: bool = False
    ignore_seeds: bool = False
    limit: int | None = None
    most: int = ROW_LIMIT


@dataclass(frozen=True, slots=True)
class Found:
    """How a file is read, to be told: what was asked for, and what was found out.

    ``separator`` is a name or the character itself; None where the kind of file has none, as for ``quoting``,
    ``header`` and ``encoding``. ``columns`` are empty where there are no names.
    """

    kind: str
    encoding: str | None = None
    separator: str | None = None
    quoting: bool | None = None
    header: bool | None = None
    columns: tuple[str, ...] = ()
    column: str | None = None
    id_column: str | None = None
    seed_column: str | None = None
    notes: tuple[str, ...] = ()


class Row(NamedTuple):
    """A row as the file has it. ``number``: what stands for the id where the file has none of its own."""

    place: str
    text: str
    number: str
    own_id: str | None = None
    seed: str = ""


class Rows(NamedTuple):
    """The rows of a file, and how they are read."""

    found: Found
    rows: Iterator[Row]


def printable(text: str, limit: int) -> str:
    """Return a text without control characters and half surrogate pairs, cut to ``limit`` characters."""
    shown = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(character if character.isprintable() else "\ufffd" for character in shown)


def listed(columns: tuple[str, ...] | list[str]) -> str:
    """Name the columns for a message, the first ten of them."""
    named = ", ".join(printable(column, 30) for column in columns[:10])
    return named if len(columns) <= 10 else f"{named} and {len(columns) - 10} more"
