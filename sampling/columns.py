"""Find the columns of prompts, ids and seeds by their names, without regard to case and plural."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from evenhand.sampling.reading import COLUMN_LIMIT, ColumnError, PromptFileError, Reading, listed, printable

PROMPT_COLUMNS = ("prompt", "caption", "text", "description")
ID_COLUMNS = ("image_id", "id")
SEED_COLUMNS = ("evaluation_seed", "seed")
_WORDS = re.compile(r"[^\W_]+")


class Columns(NamedTuple):
    """The columns that are used, by their names in the file."""

    prompt: str
    identity: str | None
    seed: str | None


def columns_of(source: Path, names: tuple[str, ...], reading: Reading) -> Columns:
    """Choose the columns among ``names``. Raises ``ColumnError`` where the prompts' column is not plain."""
    if len(names) > COLUMN_LIMIT:
        raise PromptFileError(f"{source}: has {len(names):,} columns, at most {COLUMN_LIMIT:,} are read")
    for name in names:
        if any(0xD800 <= ord(character) <= 0xDFFF for character in name):
            raise PromptFileError(f"{source}: the column’s name “{printable(name, 40)}” is no Unicode text")
    return Columns(
        _prompt_column(source, names, reading.column),
        None if reading.ignore_ids else _first(source, names, ID_COLUMNS),
        None if reading.ignore_seeds else _first(source, names, SEED_COLUMNS),
    )


def is_known(name: str) -> bool:
    """Whether a column's name is one of those that are looked for."""
    return _folded(name) in {*PROMPT_COLUMNS, *ID_COLUMNS, *SEED_COLUMNS}


def names_prompts(cell: str) -> bool:
    """Whether the only cell of a first row is a heading: a known name, or one word that holds one (``prompt_text``)."""
    if _folded(cell) in PROMPT_COLUMNS:
        return True
    parts = _WORDS.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cell.strip()))
    return len(cell.split()) == 1 and any(_folded(part) in PROMPT_COLUMNS for part in parts)


def _prompt_column(source: Path, names: tuple[str, ...], asked: str | None) -> str:
    if asked is not None:
        named = _first(source, names, (asked,))
        if named is None:
            text = f"{source}: there is no column {printable(asked, 40)!r}; the columns are {listed(names)}"
            raise ColumnError(text, names)
        return named
    found = _first(source, names, PROMPT_COLUMNS)
    if found is not None:
        return found
    if len(names) == 1:
        return names[0]
    raise ColumnError(f"{source}: which column holds the prompts? The columns are {listed(names)}", names)


def _first(source: Path, names: tuple[str, ...], wanted: tuple[str, ...]) -> str | None:
    """Return the first of the wanted names that is there, letter by letter or else folded; None if none is."""
    for name in wanted:
        for found in ([each for each in names if each == name], [each for each in names if _same(each, name)]):
            if len(found) > 1:
                message = f"{source}: the column {printable(found[0], 40)!r} occurs {len(found)} times"
                raise ColumnError(message, names)
            if found:
                return found[0]
    return None


def _same(one: str, other: str) -> bool:
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    folded = "_".join(name.casefold().replace("-", " ").replace("_", " ").split())
    return folded[:-1] if len(folded) > 3 and folded.endswith("s") and not folded.endswith("ss") else folded
