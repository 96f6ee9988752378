"""Open, pause, resume and close a prepared study; conditional updates settle races."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.assignment.booklets import booklets_needed, build_blocks, cells_of
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Pair, Study
from evenhand.studies.rating import chain


class LifecycleError(InputError):
    """A step that the study's state does not allow; the message names the state."""


def open_study(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Build the booklets and start collecting; ``LifecycleError`` for a study without pairs or not ready."""
    if not Pair.objects.filter(comparison__study=study).exists():
        raise LifecycleError(f"“{study.name}” has no pairs yet: prepare it first")
    configuration = configuration_of(study)
    booklets_per_block = booklets_needed(cells_of(study), configuration.trials_per_evaluator)
    with transaction.atomic():
        Study.objects.select_for_update().get(pk=study.pk)  # an exchange of a check pair waits, and is then refused
        build_blocks(study, max(2, -(-configuration.quota // booklets_per_block)))
    _step(study, "opened", Study.State.READY, Study.State.COLLECTING, actor)


def pause_study(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Serve no trials and take no answers until it is resumed."""
    _step(study, "paused", Study.State.COLLECTING, Study.State.PAUSED, actor)


def resume_study(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Continue collecting."""
    _step(study, "resumed", Study.State.PAUSED, Study.State.COLLECTING, actor)


def close_study(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """End the collection for good, and record the root of its rating chains."""
    before = Study.State.PAUSED if study.state == Study.State.PAUSED else Study.State.COLLECTING
    _step(study, "closed", before, Study.State.CLOSED, actor)
    study.ratings_root = chain.root(study)  # after the step, because a closed study takes no answers
    study.save(update_fields=["ratings_root"])
    audit.record(study, "root", actor=actor, ratings_root=study.ratings_root)


def _step(study: Study, action: str, before: Study.State, after: Study.State, actor: AbstractBaseUser | None) -> None:
    if not Study.objects.filter(pk=study.pk, state=before).update(state=after):
        study.refresh_from_db(fields=["state"])
        raise LifecycleError(f"“{study.name}” is {study.state}; only a study that is {before.value} can be {action}")
    study.refresh_from_db(fields=["state"])
    audit.record(study, action, actor=actor)
