"""Look through a prompt file before it is stored: its first prompts, its counts, and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from evenhand.sampling.prompts import Problem, SourcePrompt, is_left_out, open_rows, prompt_line, prompt_of
from evenhand.sampling.reading import Found, PromptFileError, Reading

SHOWN = 12  # prompts
PLACES = 3  # named for one kind of problem
CHUNK = 2000


@dataclass
class Trouble:
    """Rows with one kind of problem: how many, the first of them, and whether they are left out as was asked."""

    count: int = 0
    first: list[str] = field(default_factory=list)
    left_out: bool = False


@dataclass
class Inspection:
    """What reading a file gives. ``found`` and the rest up to ``error`` are as far as the reading came."""

    found: Found | None = None
    first: list[SourcePrompt] = field(default_factory=list)
    count: int = 0
    trimmed: int = 0
    duplicates: int = 0
    with_seed: int = 0
    troubles: dict[str, Trouble] = field(default_factory=dict)
    error: PromptFileError | None = None

    @property
    def usable(self) -> bool:
        """Whether the file can be stored as it is read."""
        return self.error is None and self.count > 0 and all(each.left_out for each in self.troubles.values())


def inspect(
    path: str | Path, reading: Reading | None = None, each_chunk: Callable[[list[str]], None] | None = None
) -> Inspection:
    """Read a file to its end, or to the limit, and count; an error that ends the reading is part of the result.

    each_chunk: is called with the texts of some thousand prompts at a time.
    """
    choices = reading or Reading()
    result = Inspection()
    seen: set[bytes] = set()
    texts: list[str] = []
    try:
        rows = open_rows(path, choices)
        result.found = rows.found
        for row in rows.rows:
            try:
                prompt = prompt_of(row, choices)
            except Problem as problem:
                trouble = result.troubles.setdefault(problem.kind, Trouble(left_out=is_left_out(problem, choices)))
                trouble.count += 1
                if len(trouble.first) < PLACES:
                    trouble.first.append(f"{row.place}: {problem}")
                continue
            _count(result, prompt, seen)
            if each_chunk is not None:
                texts.append(prompt.text)
            if each_chunk is not None and len(texts) == CHUNK:
                each_chunk(texts)
                texts = []
            if result.count > choices.most:
                raise PromptFileError(f"{path}: holds more than {choices.most:,} prompts")
            if result.count == choices.limit:
                break
        _check_end(path, result, choices)
    except PromptFileError as error:
        result.error = error
    if each_chunk is not None and texts:
        each_chunk(texts)
    result.duplicates = result.count - len(seen)
    return result


def _count(result: Inspection, prompt: SourcePrompt, seen: set[bytes]) -> None:
    result.count += 1
    result.trimmed += prompt.trimmed
    result.with_seed += prompt.seed is not None
    if len(result.first) < SHOWN:
        result.first.append(prompt)
    seen.add(hashlib.blake2b(prompt_line(prompt.text), digest_size=16).digest())  # the texts would fill the memory


def _check_end(path: str | Path, result: Inspection, reading: Reading) -> None:
    if not result.count and not result.troubles:
        raise PromptFileError(f"{path}: holds no prompts")
    if reading.limit is not None and result.count < reading.limit:
        raise PromptFileError(f"{path}: holds {result.count:,} prompts, the first {reading.limit:,} were asked for")
