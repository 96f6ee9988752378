"""Delete a prompt set that no study uses, with the pictures that were made from it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery

from evenhand.errors import InputError
from evenhand.studies.image_store import image_file, webp_file
from evenhand.studies.models import Image, PromptSet, PromptSubset, SamplingRun, Study
from evenhand.studies.prompt_import import remove_rows, unseen_name

logger = logging.getLogger(__name__)
CHUNK = 500  # images of one transaction


class DeletionError(InputError):
    """A prompt set that is in use; the message says by what, and nothing was deleted."""


@dataclass(frozen=True)
class Uses:
    """What holds a prompt set, and what would go with it."""

    studies: list[Study]
    pictures: int
    running: bool  # a worker is trying settings on it

    @property
    def any(self) -> bool:
        """Whether the set cannot be deleted."""
        return bool(self.studies) or self.running


def with_uses(sets: QuerySet[PromptSet]) -> QuerySet[PromptSet]:
    """Read with each set how many pictures it has (None: none) and whether it is tried now, for ``uses_of``."""
    images = Image.objects.filter(prompt__prompt_set=OuterRef("pk")).order_by().values("prompt__prompt_set")
    running = SamplingRun.objects.filter(prompt_set=OuterRef("pk"), state=SamplingRun.State.LEASED)
    return sets.annotate(pictures=Subquery(images.annotate(n=Count("pk")).values("n")), running=Exists(running))


def uses_of(prompt_set: PromptSet) -> Uses:
    """Return what holds a set: studies of any admin, and work at this moment (as ``with_uses`` read it, if it did)."""
    found: Any = prompt_set
    if not hasattr(found, "pictures"):
        found = with_uses(PromptSet.with_unfinished.filter(pk=prompt_set.pk)).first()
    studies = list(Study.objects.filter(prompt_set=prompt_set))
    return Uses(studies, found.pictures or 0, found.running) if found else Uses(studies, 0, False)


def delete_prompt_set(prompt_set: PromptSet, *, actor: AbstractBaseUser | None = None) -> None:
    """Delete a set in short transactions: first it is seen no more, then its pictures and prompts go.

    Raises ``DeletionError`` where a study uses it or a worker is at it.
    """
    name, sha256, number = prompt_set.name, prompt_set.sha256, prompt_set.pk
    _refuse_used(prompt_set)
    with transaction.atomic():
        PromptSet.objects.filter(pk=number).update(name=unseen_name(), sha256="")
    try:
        _refuse_used(prompt_set)  # a study may have been planned meanwhile
    except DeletionError:
        PromptSet.with_unfinished.filter(pk=number).update(name=name, sha256=sha256)
        raise
    _delete_pictures(prompt_set)
    PromptSubset.objects.filter(prompt_set=prompt_set).delete()
    remove_rows(prompt_set)
    logger.info("prompt set %s “%s” was deleted by %s", number, name, actor.pk if actor else "a command")


def _refuse_used(prompt_set: PromptSet) -> None:
    uses = uses_of(prompt_set)
    if uses.studies:
        count = len(uses.studies)
        raise DeletionError(f"“{prompt_set.name}” is used by {count} {'study' if count == 1 else 'studies'}")
    if uses.running:
        raise DeletionError(f"a worker is trying settings on “{prompt_set.name}”; wait until it has finished")


def _delete_pictures(prompt_set: PromptSet) -> None:
    """Delete the records of the set's pictures, and the files that no other record names."""
    images = Image.objects.filter(prompt__prompt_set=prompt_set).order_by("pk")
    while part := list(images.values_list("pk", "sha256")[:CHUNK]):
        with transaction.atomic():
            Image.objects.filter(pk__in=[pk for pk, _ in part]).delete()
        hashes = {sha256 for _, sha256 in part if sha256}
        for sha256 in hashes - set(Image.objects.filter(sha256__in=hashes).values_list("sha256", flat=True)):
            image_file(sha256).delete()
            webp_file(sha256).delete()
