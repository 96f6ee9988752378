"""Prompt sets from files and texts: everything or nothing, under a name that is free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from django.db import IntegrityError, transaction

from sampling.prompts import SourcePrompt, clean, prompts_sha256, read_prompts
from studies.models import Prompt, PromptSet

CHUNK = 2000  # rows of one insert


class PromptImportError(ValueError):
    """A prompt set that cannot be made; the message names the set or the prompt."""


def import_file(path: str | Path, *, name: str, column: str | None = None) -> PromptSet:
    """Import a CSV, TSV or plain text file; ``PromptFileError`` or ``PromptImportError`` leave nothing behind."""
    name = free_name(name)
    return store_prompts(read_prompts(path, column).prompts, name=name, source=Path(path).name)


def import_texts(texts: Iterable[str], *, name: str, source: str) -> PromptSet:
    """Import texts, trimmed as a file's; ``source`` says where they come from."""
    prompts = []
    for index, text in enumerate(texts):
        try:
            prompts.append(SourcePrompt(clean(text)))
        except ValueError as error:
            raise PromptImportError(f"prompt {index} of {source}: {error}") from error
    return store_prompts(prompts, name=name, source=source)


def free_name(name: str) -> str:
    """The name, trimmed, if a new prompt set may have it; cheap, so that it fails before a long file is read."""
    name = name.strip()
    if not name:
        raise PromptImportError("a prompt set needs a name; the one given is empty")
    _fits("name", name)
    if PromptSet.objects.filter(name=name).exists():
        raise PromptImportError(f"there is a prompt set named “{name}” already; prompt sets are never overwritten")
    return name


def store_prompts(prompts: Sequence[SourcePrompt], *, name: str, source: str) -> PromptSet:
    """Write down clean prompts, duplicates kept and counted, in one transaction."""
    name = free_name(name)
    _fits("source", source)
    if not prompts:
        raise PromptImportError(f"{source or name}: holds no prompts")
    texts = [prompt.text for prompt in prompts]
    try:
        with transaction.atomic():
            prompt_set = PromptSet.objects.create(
                name=name,
                source=source,
                sha256=prompts_sha256(texts),
                count=len(texts),
                duplicates=len(texts) - len(set(texts)),
            )
            rows = [
                Prompt(prompt_set=prompt_set, index=i, text=p.text, source_id=p.source_id, seed=p.seed)
                for i, p in enumerate(prompts)
            ]
            Prompt.objects.bulk_create(rows, batch_size=CHUNK)
    except IntegrityError:
        free_name(name)  # somebody may have taken the name in between: then this is the error to show
        raise
    return prompt_set


def _fits(field: str, value: str) -> None:
    limit: int | None = getattr(PromptSet._meta.get_field(field), "max_length", None)
    shown = value if len(value) <= 40 else f"{value[:40]}…"
    if limit is not None and len(value) > limit:
        raise PromptImportError(f"the {field} “{shown}” has {len(value)} characters, at most {limit} fit")
    if "\0" in value:
        raise PromptImportError(f"the {field} {shown!r} holds a NUL character")
