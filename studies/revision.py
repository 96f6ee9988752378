"""Changing what may change after a study was prepared: quota, texts, panel and lease. Each change is a new version.

Everything that decides what is shown or drawn stays frozen. Every rating names the version it was given under.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Study, StudyVersion

REVISABLE = (
    "quota",
    "consent",
    "contact",
    "approval",
    "debriefing",
    "completion_code",
    "completion_url",
    "lease_minutes",
)
STATES = (Study.State.PREPARING, Study.State.READY, Study.State.COLLECTING, Study.State.PAUSED)


class RevisionError(InputError):
    """A change that cannot be made; the message says why, and nothing was changed."""


class StaleRevisionError(RevisionError):
    """A study that was revised by somebody else since it was read; nothing was changed."""


def revise(
    study: Study, *, actor: AbstractBaseUser | None = None, read_as: int | None = None, **changes: Any
) -> StudyVersion:
    """A new version with some of ``REVISABLE`` changed, at once in force; the present one where nothing differs.

    ``read_as`` is the number of the version that the change was made from. Raises ``StaleRevisionError`` where another
    one is in force by now, ``RevisionError`` for another setting, a draft or a closed study, ``ConfigurationError`` for
    a value that cannot be used.
    """
    frozen = sorted(set(changes) - set(REVISABLE))
    if frozen:
        raise RevisionError(f"{', '.join(frozen)}: frozen since “{study.name}” was prepared")
    before = configuration_of(study)
    present = study.current_version
    assert present is not None  # configuration_of read it
    if read_as is not None and read_as != present.number:
        raise StaleRevisionError(f"“{study.name}” was revised by somebody else since you opened this page")
    configuration = replace(before, **changes)
    if configuration == before:
        return present
    try:
        version = _written(study, present, configuration, actor, sorted(changes))
    except IntegrityError as error:  # another revision took the same number at the same moment
        raise StaleRevisionError(f"“{study.name}” was revised by somebody else at the same moment") from error
    study.refresh_from_db(fields=["current_version"])
    return version


def _written(
    study: Study,
    present: StudyVersion,
    configuration: StudyConfiguration,
    actor: AbstractBaseUser | None,
    changed: list[str],
) -> StudyVersion:
    with transaction.atomic():
        version = StudyVersion.objects.create(
            study=study,
            number=study.versions.count() + 1,
            configuration=configuration.to_json(),
            sha256=configuration.sha256,
        )
        current = Study.objects.filter(pk=study.pk, state__in=STATES, current_version=present)
        if not current.update(current_version=version):
            study.refresh_from_db(fields=["state"])
            if study.state in STATES:
                raise StaleRevisionError(f"“{study.name}” was revised by somebody else at the same moment")
            raise RevisionError(f"“{study.name}” is {study.state}; it cannot be revised")
        audit.record(study, "revised", actor=actor, changed=changed, version_hash=version.sha256)
    return version
