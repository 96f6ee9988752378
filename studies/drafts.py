"""Create and change drafts; a draft's configuration is replaced until preparation freezes it."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import PromptSet, Study, StudyVersion


class DraftError(InputError):
    """A change of a study that is no longer a draft; nothing was changed."""


class StaleDraftError(DraftError):
    """A change made from an outdated draft, which somebody else has changed since; nothing was changed."""


def create_study(
    *, owner: AbstractBaseUser, name: str, prompt_set: PromptSet, configuration: StudyConfiguration
) -> Study:
    """Create a draft with version 1 of its configuration."""
    with transaction.atomic():
        study = Study.objects.create(name=name, owner_id=owner.pk, prompt_set=prompt_set)
        version = StudyVersion.objects.create(
            study=study, number=1, configuration=configuration.to_json(), sha256=configuration.sha256
        )
        study.current_version = version
        study.save(update_fields=["current_version"])
        audit.record(study, "created", actor=owner, version_hash=configuration.sha256)
    return study


def draft_sha256(study: Study) -> str:
    """Return the SHA-256 (64 hex digits) over a draft's name, prompt set and configuration."""
    text = f"{study.name}\n{study.prompt_set_id}\n{configuration_of(study).sha256}"
    return hashlib.sha256(text.encode()).hexdigest()


def change_draft(
    *,
    study: Study,
    actor: AbstractBaseUser,
    configuration: StudyConfiguration,
    name: str | None = None,
    prompt_set: PromptSet | None = None,
    read_as: str | None = None,
) -> None:
    """Replace a draft's configuration, and its name and prompt set where they are not None.

    ``read_as`` is the ``draft_sha256`` of the draft that the change was made from. Raises ``StaleDraftError`` where it
    is another one by now, ``DraftError`` once the study is being prepared.
    """
    with transaction.atomic():
        draft = Study.objects.filter(pk=study.pk, state=Study.State.DRAFT)
        # The update takes the row's lock before anything is read, so that nothing can change in between.
        if not draft.update(state=Study.State.DRAFT):
            raise DraftError(f"“{study.name}” is no draft any more: its configuration is frozen")
        if read_as is not None and read_as != draft_sha256(draft.select_related("current_version").get()):
            raise StaleDraftError(f"“{study.name}” was changed by somebody else since you opened its plan")
        if name is not None:
            draft.update(name=name)
        if prompt_set is not None:
            draft.update(prompt_set=prompt_set)
        StudyVersion.objects.filter(study=study, number=1).update(
            configuration=configuration.to_json(), sha256=configuration.sha256
        )
        audit.record(study, "changed", actor=actor, version_hash=configuration.sha256)


def configuration_of(study: Study) -> StudyConfiguration:
    """Return the study's current configuration."""
    if study.current_version is None:
        raise DraftError(f"“{study.name}” has no configuration yet")
    return _read(study.current_version.configuration)


@lru_cache(maxsize=256)
def _read(text: str) -> StudyConfiguration:
    """Parse a configuration, cached by its text: every request reads it, and it is immutable."""
    return StudyConfiguration.from_json(text)
