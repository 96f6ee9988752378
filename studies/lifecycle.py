"""Open, pause, resume and close a prepared study; conditional updates settle races."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies import audit, picture_flags
from evenhand.studies.assignment.booklets import booklets_needed, build_blocks, cells_of
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Pair, Study
from evenhand.studies.rating import chain


class LifecycleError(InputError):
    """A step that the study's state does not allow; the message names the state."""


def open_study(study: Study, *, actor: AbstractBaseUser | None = None, accept_odd_pairs: bool = False) -> None:
    """Build the booklets and start collecting.

    accept_odd_pairs: open although some pairs have no visible difference, or a picture of one colour; it is recorded.
    Raises ``LifecycleError`` for a study without pairs or not ready, and for odd pairs that are not accepted.
    """
    if not Pair.objects.filter(comparison__study=study).exists():
        raise LifecycleError(f"“{study.name}” has no pairs yet: prepare it first")
    odd = picture_flags.in_words(picture_flags.odd_pairs(study))
    if odd and not accept_odd_pairs:
        raise LifecycleError(
            f"“{study.name}” has {' and '.join(odd)}: change the plan, or say that it is opened all the same"
        )
    configuration = configuration_of(study)
    booklets_per_block = booklets_needed(cells_of(study), configuration.trials_per_evaluator)
    with transaction.atomic():
        # an exchange of a check pair waits for this row, and is then refused
        locked = Study.objects.select_for_update().get(pk=study.pk)
        if locked.archived_at:
            raise LifecycleError(f"“{study.name}” is archived: put it back into the list first")
        if locked.state == Study.State.READY:
            build_blocks(study, max(2, -(-configuration.quota // booklets_per_block)))
        _step(study, "opened", Study.State.READY, Study.State.COLLECTING, actor, **({"accepted": odd} if odd else {}))


def pause_study(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Serve no trials and take no answers until it is resumed."""
    _step(study, "paused", Study.State.COLLECTING, Study.State.PAUSED, actor)


def resume_study(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Continue collecting."""
    _step(study, "resumed", Study.State.PAUSED, Study.State.COLLECTING, actor)


def close_study(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """End the collection for good, and record the root of its rating chains: both, or nothing.

    A closed study without a root, whose closing was interrupted when the two were stored apart, gets its root.
    """
    before = Study.State.PAUSED if study.state == Study.State.PAUSED else Study.State.COLLECTING
    try:
        with transaction.atomic():
            if not Study.objects.filter(pk=study.pk, state=Study.State.CLOSED, ratings_root="").exists():
                _step(study, "closed", before, Study.State.CLOSED, actor)
            _record_root(study, actor)
    finally:  # an interrupted step is taken back, in the object too
        study.refresh_from_db(fields=["state", "ratings_root"])


def _record_root(study: Study, actor: AbstractBaseUser | None) -> None:
    """Record the root of a study's chains, once.

    The step before has changed the study's row: it has waited for answers that are being stored, and later ones wait
    for this transaction and are then refused. So the root is that of all answers.
    """
    root = chain.root(study)
    if Study.objects.filter(pk=study.pk, state=Study.State.CLOSED, ratings_root="").update(ratings_root=root):
        audit.record(study, "root", actor=actor, ratings_root=root)


def archive_study(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Take a study out of the list of studies; nothing else changes. Raises ``LifecycleError`` for one at work."""
    at_rest = (Study.State.DRAFT, Study.State.READY, Study.State.CLOSED)
    if not Study.objects.filter(pk=study.pk, state__in=at_rest, archived_at=None).update(archived_at=timezone.now()):
        study.refresh_from_db()
        if study.archived_at:
            raise LifecycleError(f"“{study.name}” is archived already")
        raise LifecycleError(f"“{study.name}” is {study.state}; a draft, a ready or a closed study can be archived")
    study.refresh_from_db(fields=["archived_at"])
    audit.record(study, "archived", actor=actor)


def restore_study(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Put an archived study back into the list. Raises ``LifecycleError`` for one that is there."""
    if not Study.objects.filter(pk=study.pk, archived_at__isnull=False).update(archived_at=None):
        raise LifecycleError(f"“{study.name}” is not archived")
    study.refresh_from_db(fields=["archived_at"])
    audit.record(study, "restored", actor=actor)


def _step(
    study: Study, action: str, before: Study.State, after: Study.State, actor: AbstractBaseUser | None, **detail: Any
) -> None:
    """Change a study's state, and record it: both, or nothing."""
    with transaction.atomic():
        if not Study.objects.filter(pk=study.pk, state=before).update(state=after):
            study.refresh_from_db(fields=["state"])
            raise LifecycleError(f"“{study.name}” is {study.state}; only a study that is {before} can be {action}")
        audit.record(study, action, actor=actor, **detail)
    study.refresh_from_db(fields=["state"])
