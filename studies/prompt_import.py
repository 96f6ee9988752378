"""Import prompt sets from files and texts, whole or not at all, under a free name.

Prompts are read as a stream and written in chunks, so that a file of millions is never in memory as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from django.db import IntegrityError, transaction

from evenhand.errors import InputError
from evenhand.sampling.prompts import SourcePrompt, clean, prompt_line, stream_prompts
from evenhand.studies.models import Prompt, PromptSet

CHUNK = 2000  # rows of one insert


class PromptImportError(InputError):
    """A prompt set that cannot be made; the message names the set or the prompt."""


def import_file(
    path: str | Path, *, name: str, column: str | None = None, limit: int | None = None, source: str | None = None
) -> PromptSet:
    """Import a prompt file, or its first ``limit`` prompts; ``source`` is its name where ``path`` has another.

    Raises ``PromptFileError`` or ``PromptImportError``; then nothing is stored.
    """
    name = free_name(name)
    return store_prompts(stream_prompts(path, column, limit), name=name, source=source or Path(path).name)


def import_texts(texts: Iterable[str], *, name: str, source: str) -> PromptSet:
    """Import texts, trimmed as those of a file; ``source`` says where they come from."""

    def prompts() -> Iterator[SourcePrompt]:
        for index, text in enumerate(texts):
            try:
                yield SourcePrompt(clean(text))
            except InputError as error:
                raise PromptImportError(f"prompt {index} of {source}: {error}") from error

    return store_prompts(prompts(), name=name, source=source)


def free_name(name: str) -> str:
    """Return the trimmed name if it is free, else raise ``PromptImportError``, before a long file is read."""
    name = name.strip()
    if not name:
        raise PromptImportError("a prompt set needs a name; the one given is empty")
    _check_length("name", name)
    if PromptSet.objects.filter(name=name).exists():
        raise PromptImportError(f"there is a prompt set named “{name}” already; prompt sets are never overwritten")
    return name


def store_prompts(prompts: Iterable[SourcePrompt], *, name: str, source: str) -> PromptSet:
    """Store clean prompts in one transaction; duplicates are kept and counted."""
    name = free_name(name)
    _check_length("source", source)
    iterator = iter(prompts)
    chunk = list(islice(iterator, CHUNK))  # before the transaction begins, because most errors of a file show here
    if not chunk:
        raise PromptImportError(f"{source or name}: holds no prompts")
    try:
        with transaction.atomic():
            prompt_set = PromptSet.objects.create(name=name, source=source, sha256="", count=len(chunk))
            _write(prompt_set, chunk, iterator)
    except IntegrityError:
        free_name(name)  # raises the right error where somebody took the name meanwhile
        raise
    return prompt_set


def _write(prompt_set: PromptSet, chunk: list[SourcePrompt], iterator: Iterator[SourcePrompt]) -> None:
    """Insert ``chunk`` and then the iterator's prompts; at the end store count, hash and duplicates."""
    digest, line_hashes, count = hashlib.sha256(), set(), 0
    while chunk:
        rows = [
            Prompt(prompt_set=prompt_set, index=count + i, text=p.text, source_id=p.source_id, seed=p.seed)
            for i, p in enumerate(chunk)
        ]
        Prompt.objects.bulk_create(rows, batch_size=CHUNK)
        for prompt in chunk:
            line = prompt_line(prompt.text)
            digest.update(line)
            line_hashes.add(hashlib.blake2b(line, digest_size=16).digest())  # the texts would fill the memory
        count += len(chunk)
        chunk = list(islice(iterator, CHUNK))
    prompt_set.sha256, prompt_set.count, prompt_set.duplicates = digest.hexdigest(), count, count - len(line_hashes)
    prompt_set.save(update_fields=["sha256", "count", "duplicates"])


def _check_length(field: str, value: str) -> None:
    limit: int | None = getattr(PromptSet._meta.get_field(field), "max_length", None)
    excerpt = value if len(value) <= 40 else f"{value[:40]}…"
    if limit is not None and len(value) > limit:
        raise PromptImportError(f"the {field} “{excerpt}” has {len(value)} characters, at most {limit} fit")
    if "\0" in value:
        raise PromptImportError(f"the {field} {excerpt!r} holds a NUL character")
