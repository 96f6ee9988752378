"""Match files to arms and prompts: by a number in the file's name, by the name itself, or by a table."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from evenhand.errors import InputError
from evenhand.studies.uploaded.tables import Entry, Table

RULES = {
    "index": "the number in the file’s name is the prompt’s number",
    "name": "the file’s name is the prompt or its id",
}
PAIRED = ("first", "second")
UNNAMED = "is named by no line of the table"
PREFIX = 20  # characters from which the beginning of a prompt is enough
_DIGITS = re.compile(r"[0-9]+")
_WORDS = re.compile(r"[\W_]+")


class MatchingError(InputError):
    """Files that cannot be matched at all; the message says what is missing."""


@dataclass(frozen=True)
class KnownPrompt:
    """A prompt of the set that files are matched to."""

    index: int
    text: str
    source_id: str = ""


@dataclass
class Row:
    """A prompt with the names of its files by arm. index: of the prompt in its set, None for a prompt of the table."""

    text: str
    index: int | None = None
    stratum: str = ""
    seed: int | None = None
    files: dict[str, str] = field(default_factory=dict)


@dataclass
class Matched:
    """Prompts with their files, and what did not fit.

    loose: files that match nothing, with the reason. lost: lines of the table that name what is not there. doubles:
    prompts to which one arm has two files, or a table two pairs.
    """

    arms: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    loose: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    doubles: list[str] = field(default_factory=list)


def match_names(names: Sequence[str], prompts: Sequence[KnownPrompt], *, rule: str, first_number: int = 0) -> Matched:
    """Match files in one folder an arm to prompts. ``first_number`` is the first prompt's number in file names.

    Raises ``MatchingError`` where there are no two folders.
    """
    arms = arms_of(names)
    if len(set(arms.values()) - {""}) < 2:
        raise MatchingError(
            "put the pictures of each arm into a folder or an archive of its own: two at least are needed"
        )
    find = _by_number(prompts, first_number) if rule == "index" else _by_name(prompts)
    matched = Matched(tuple(dict.fromkeys(arm for arm in arms.values() if arm)))
    rows: dict[int, Row] = {}
    for name, arm in arms.items():
        found = find(PurePosixPath(name).stem) if arm else "lies in no arm’s folder"
        if isinstance(found, str):
            matched.loose[name] = found
        else:
            row = rows.setdefault(found.index, Row(found.text, found.index))
            _put(matched, row, arm, name, f"prompt {found.index}")
    matched.rows = [rows[index] for index in sorted(rows)]
    return matched


def match_arm(
    names: Sequence[str],
    prompts: Sequence[KnownPrompt],
    arm: str,
    *,
    rule: str,
    first_number: int = 0,
    table: Table | None = None,
) -> Matched:
    """Match files that all belong to one arm: as a table says where there is one, else by a rule.

    Raises ``MatchingError`` for a table of pairs.
    """
    matched, rows = Matched((arm,)), dict[int | None, Row]()
    if table is not None and table.paired:
        raise MatchingError(f"{table.name} names pairs; for one arm give the columns prompt or index, and file")
    for name, found in (
        _pairs_of(table, names, prompts, matched) if table else _found(names, prompts, rule, first_number)
    ):
        if isinstance(found, str):
            matched.loose[name] = found
        else:
            _put(
                matched, rows.setdefault(found.index, Row(found.text, found.index)), arm, name, f"prompt {found.index}"
            )
    matched.rows = [rows[index] for index in sorted(rows, key=lambda index: index or 0)]
    if table:
        used = {name for row in matched.rows for name in row.files.values()}
        matched.loose = {name: UNNAMED for name in names if name not in used}
    return matched


def _found(
    names: Sequence[str], prompts: Sequence[KnownPrompt], rule: str, first_number: int
) -> Iterable[tuple[str, KnownPrompt | str]]:
    find = _by_number(prompts, first_number) if rule == "index" else _by_name(prompts)
    return ((name, find(PurePosixPath(name).stem)) for name in names)


def _pairs_of(
    table: Table, names: Sequence[str], prompts: Sequence[KnownPrompt], matched: Matched
) -> Iterable[tuple[str, KnownPrompt]]:
    """Yield the files that a table names with their prompts; lines that name what is not there are noted."""
    files, known = _Files(names), _Known(prompts)
    for entry in table.entries:
        prompt = known.find(entry)
        for arm, file in entry.files.items():
            name = files.find(file, arm)
            if prompt is None:
                matched.lost.append(f"line {entry.line}: no prompt of the set is meant")
            elif name is None:
                matched.lost.append(f"line {entry.line}: there is no file {file}")
            else:
                yield name, prompt


def _put(matched: Matched, row: Row, arm: str, name: str, place: str) -> None:
    if row.files.setdefault(arm, name) != name:
        matched.doubles.append(f"{place}, {arm}: {row.files[arm]} and {name}")


def arms_of(names: Iterable[str]) -> dict[str, str]:
    """Return each file's arm: the outermost folder in which not all files lie; empty where there is none."""
    parts = {name: PurePosixPath(name).parts for name in names}
    depth = 0
    while len(firsts := {each[depth] for each in parts.values() if len(each) > depth + 1}) == 1 and all(
        len(each) > depth + 1 for each in parts.values()
    ):
        depth += 1
    return {name: each[depth] if firsts and len(each) > depth + 1 else "" for name, each in parts.items()}


class _by_number:
    """Find a prompt by the only number in a file's name."""

    def __init__(self, prompts: Sequence[KnownPrompt], first_number: int) -> None:
        self.prompts = {prompt.index + first_number: prompt for prompt in prompts}

    def __call__(self, stem: str) -> KnownPrompt | str:
        numbers = _DIGITS.findall(stem)
        if len(numbers) != 1:
            return "holds no number" if not numbers else "holds several numbers"
        return self.prompts.get(int(numbers[0][-18:]), "has a number that no prompt has")


class _by_name:
    """Find a prompt by its id or its text, or by a text's beginning that only one has."""

    def __init__(self, prompts: Sequence[KnownPrompt]) -> None:
        self.exact: dict[str, list[KnownPrompt]] = {}
        for prompt in prompts:
            for key in dict.fromkeys(filter(None, (folded(prompt.source_id), folded(prompt.text)))):
                self.exact.setdefault(key, []).append(prompt)
        self.keys = sorted(self.exact)

    def __call__(self, stem: str) -> KnownPrompt | str:
        key = folded(stem)
        found = self.exact.get(key, [])
        if not found and len(key) >= PREFIX:
            at = bisect_left(self.keys, key)
            beginning = [each for each in self.keys[at : at + 2] if each.startswith(key)]
            found = [prompt for each in beginning for prompt in self.exact[each]]
        if len(found) > 1:
            return "fits several prompts"
        return found[0] if found else "fits no prompt"


def folded(text: str) -> str:
    """Return a text in small letters with one space for all that is neither letter nor digit."""
    return _WORDS.sub(" ", text.casefold()).strip()


# ------------------------------------------------------------------------------ tables


def match_table(names: Sequence[str], table: Table, prompts: Sequence[KnownPrompt] | None) -> Matched:
    """Match files to prompts as a table says. Without ``prompts`` the table's own texts are the prompts.

    Raises ``MatchingError`` for a table of indices without prompts, or of one arm.
    """
    if prompts is None and not all(entry.prompt for entry in table.entries):
        raise MatchingError(f"{table.name} names prompts by number: choose the prompt set that it means")
    finder, arms = _Files(names), arms_of(names)
    matched = Matched(PAIRED if table.paired else ())
    rows: dict[object, Row] = {}
    known = None if prompts is None else _Known(prompts)
    for entry in table.entries:
        row = _row_of(entry, known)
        if isinstance(row, str):
            matched.lost.append(f"line {entry.line}: {row}")
            continue
        key = row.index if row.index is not None else entry.line if table.paired else row.text
        if table.paired and key in rows:
            matched.doubles.append(f"line {entry.line}: a second pair of prompt {key}")
            continue
        row = rows.setdefault(key, row)
        for arm, file in entry.files.items():
            _take(matched, row, entry, arm, finder.find(file, arm), arms)
    matched.rows = list(rows.values())
    if not table.paired:
        matched.arms = tuple(dict.fromkeys(arm for row in matched.rows for arm in row.files))
        if len(matched.arms) < 2:
            raise MatchingError(f"{table.name} names files of one arm; give a column “arm”, or a folder to each arm")
    used = {name for row in matched.rows for name in row.files.values()}
    matched.loose = {name: UNNAMED for name in names if name not in used}
    return matched


def _take(matched: Matched, row: Row, entry: Entry, arm: str, found: str | None, arms: dict[str, str]) -> None:
    if found is None:
        matched.lost.append(f"line {entry.line}: there is no file {', '.join(entry.files.values())}")
    elif not (arm or arms[found]):
        matched.lost.append(f"line {entry.line}: {found} belongs to no arm")
    else:
        _put(matched, row, arm or arms[found], found, f"line {entry.line}")


def _row_of(entry: Entry, known: _Known | None) -> Row | str:
    if known is None:
        return Row(entry.prompt, None, entry.stratum, entry.seed)
    prompt = known.find(entry)
    if prompt is None:
        return "no prompt of the set is meant"
    return Row(prompt.text, prompt.index, entry.stratum, entry.seed)


class _Known:
    """Find the prompt that a table's row means, by index or by text."""

    def __init__(self, prompts: Sequence[KnownPrompt]) -> None:
        self.by_index = {prompt.index: prompt for prompt in prompts}
        self.by_text = {prompt.text: prompt for prompt in reversed(prompts)}

    def find(self, entry: Entry) -> KnownPrompt | None:
        if entry.index is not None:
            return self.by_index.get(entry.index)
        return self.by_text.get(entry.prompt)


class _Files:
    """Find files by the names that a table gives: whole ones, or the end of one file's name alone."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = set(names)
        self.ends: dict[str, list[str]] = {}
        for name in names:
            parts = PurePosixPath(name).parts
            for depth in range(len(parts)):
                self.ends.setdefault("/".join(parts[depth:]), []).append(name)

    def find(self, file: str, arm: str) -> str | None:
        if file in self.names:
            return file
        in_arm = self.ends.get(f"{arm}/{file}", []) if arm else []
        found = in_arm or self.ends.get(file, [])
        return found[0] if len(found) == 1 else None
