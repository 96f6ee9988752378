"""Import prompt sets from files and texts, whole or not at all, under a free name.

Prompts are read as a stream and written in chunks, so that a file of millions is never in memory as a whole.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import count, islice
from pathlib import Path

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.sampling.prompts import Reading, SourcePrompt, clean, prompt_line, stream_prompts
from evenhand.sampling.tokens import TokenCounter, cut_by_any
from evenhand.studies.models import Prompt, PromptSet

CHUNK = 2000  # rows of one insert, which is a transaction of its own
ABANDONED = timedelta(hours=1)  # without a further row


class PromptImportError(InputError):
    """A prompt set that cannot be made; the message names the set or the prompt."""


def import_file(
    path: str | Path,
    *,
    name: str,
    reading: Reading | None = None,
    source: str | None = None,
    counters: Sequence[TokenCounter] = (),
    creator: AbstractBaseUser | None = None,
) -> PromptSet:
    """Import a prompt file; ``source`` is its name where ``path`` has another.

    counters: leave out the prompts that one of these tokenizers would cut.
    Raises ``PromptFileError`` or ``PromptImportError``; then nothing is stored.
    """
    name = free_name(name)
    prompts = whole_prompts(stream_prompts(path, reading=reading), counters)
    return store_prompts(prompts, name=name, source=source or Path(path).name, creator=creator)


def whole_prompts(prompts: Iterable[SourcePrompt], counters: Sequence[TokenCounter]) -> Iterator[SourcePrompt]:
    """Yield the prompts that none of the tokenizers would cut."""
    iterator = iter(prompts)
    while chunk := list(islice(iterator, CHUNK)):
        cut = cut_by_any([prompt.text for prompt in chunk], counters)
        yield from (prompt for prompt, is_cut in zip(chunk, cut, strict=True) if not is_cut)


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


def free_set_name(study: str) -> str:
    """Return a free name for the prompt set that is made with a study."""
    wanted = f"Prompts of {study}"[:90]
    names = (wanted if number == 1 else f"{wanted} ({number})" for number in count(1))
    return next(name for name in names if not PromptSet.objects.filter(name=name).exists())


def store_prompts(
    prompts: Iterable[SourcePrompt], *, name: str, source: str, creator: AbstractBaseUser | None = None
) -> PromptSet:
    """Store clean prompts, whole or not at all; duplicates are kept and counted. No creator: the set is everybody's.

    They are written in many short transactions under a set that nobody sees, so that others can write meanwhile; the
    last one gives it its name. What an import that was killed has left is removed by a later one.
    """
    name = free_name(name)
    _check_length("source", source)
    remove_unfinished()
    iterator = iter(prompts)
    chunk = list(islice(iterator, CHUNK))  # before anything is written, because most errors of a file show here
    if not chunk:
        raise PromptImportError(f"{source or name}: holds no prompts")
    prompt_set = PromptSet.with_unfinished.create(
        name=unseen_name(), source=source, sha256="", count=len(chunk), creator_id=creator.pk if creator else None
    )
    try:
        _write(prompt_set, chunk, iterator)
        _finish(prompt_set, name)
    except BaseException:
        remove_rows(prompt_set)
        raise
    return prompt_set


def _write(prompt_set: PromptSet, chunk: list[SourcePrompt], iterator: Iterator[SourcePrompt]) -> None:
    """Insert ``chunk`` and then the iterator's prompts, and set count, hash and duplicates on the record."""
    digest, line_hashes, count = hashlib.sha256(), set(), 0
    while chunk:
        rows = [
            Prompt(prompt_set=prompt_set, index=count + i, text=p.text, source_id=p.source_id, seed=p.seed)
            for i, p in enumerate(chunk)
        ]
        with transaction.atomic():
            Prompt.objects.bulk_create(rows, batch_size=CHUNK)
            PromptSet.with_unfinished.filter(pk=prompt_set.pk).update(created_at=timezone.now())  # it is alive
        for prompt in chunk:
            line = prompt_line(prompt.text)
            digest.update(line)
            line_hashes.add(hashlib.blake2b(line, digest_size=16).digest())  # the texts would fill the memory
        count += len(chunk)
        chunk = list(islice(iterator, CHUNK))
    prompt_set.sha256, prompt_set.count, prompt_set.duplicates = digest.hexdigest(), count, count - len(line_hashes)


def _finish(prompt_set: PromptSet, name: str) -> None:
    """Give the set its name and its hash, by which it is seen."""
    prompt_set.name, prompt_set.created_at = name, timezone.now()
    try:
        with transaction.atomic():
            prompt_set.save(update_fields=["name", "sha256", "count", "duplicates", "created_at"])
    except IntegrityError:
        free_name(name)  # raises the right error where somebody took the name meanwhile
        raise


# ------------------------------------------------------------------------------ sets that nobody sees


def unseen_name() -> str:
    """Return a name for a set that is not whole; names are unique."""
    return f"unfinished {uuid.uuid4().hex}"


def remove_unfinished() -> None:
    """Remove the sets whose import or deletion has stopped: nothing was written for ``ABANDONED``."""
    for prompt_set in PromptSet.with_unfinished.filter(sha256="", created_at__lt=timezone.now() - ABANDONED):
        remove_rows(prompt_set)


def remove_rows(prompt_set: PromptSet) -> None:
    """Delete a set that nobody sees, and its prompts, in short transactions."""
    prompts = Prompt.objects.filter(prompt_set_id=prompt_set.pk).order_by("index")
    while last := list(prompts.values_list("index", flat=True)[:CHUNK])[-1:]:
        with transaction.atomic():
            Prompt.objects.filter(prompt_set_id=prompt_set.pk, index__lte=last[0]).delete()
            PromptSet.with_unfinished.filter(pk=prompt_set.pk).update(created_at=timezone.now())
    PromptSet.with_unfinished.filter(pk=prompt_set.pk).delete()


def _check_length(field: str, value: str) -> None:
    limit: int | None = getattr(PromptSet._meta.get_field(field), "max_length", None)
    excerpt = value if len(value) <= 40 else f"{value[:40]}…"
    if limit is not None and len(value) > limit:
        raise PromptImportError(f"the {field} “{excerpt}” has {len(value)} characters, at most {limit} fit")
    if "\0" in value:
        raise PromptImportError(f"the {field} {excerpt!r} holds a NUL character")
