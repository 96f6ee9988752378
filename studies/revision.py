"""Change what may change after a study's preparation; each change makes a new version.

Quota, texts, panel settings and lease may change. Everything that decides what is shown or drawn stays frozen. Every
rating names the version it was given under.
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
    "payment",
    "recruitment",
    "minutes",
    "skips_are_paid",
    "completion_code",
    "completion_url",
    "redirect_at_once",
    "end_returns",
    "lease_minutes",
)
STATES = (Study.State.PREPARING, Study.State.READY, Study.State.COLLECTING, Study.State.PAUSED)


class RevisionError(InputError):
    """A change that is not allowed; the message says why, and nothing was changed."""


class StaleRevisionError(RevisionError):
    """A change made from an outdated version, which somebody else has revised since; nothing was changed."""


def revise(
    study: Study, *, actor: AbstractBaseUser | None = None, read_as: int | None = None, **changes: Any
) -> StudyVersion:
    """Put a new version with some of ``REVISABLE`` changed in force; return the current one where nothing differs.

    ``read_as`` is the number of the version that the change was made from. Raises ``StaleRevisionError`` where another
    one is in force by now, ``RevisionError`` for another setting, a draft or a closed study, ``ConfigurationError`` for
    a value that cannot be used.
    """
    frozen = sorted(set(changes) - set(REVISABLE))
    if frozen:
        raise RevisionError(f"{', '.join(frozen)}: frozen since “{study.name}” was prepared")
    current_configuration = configuration_of(study)
    current_version = study.current_version
    assert current_version is not None  # configuration_of read it
    if read_as is not None and read_as != current_version.number:
        raise StaleRevisionError(f"“{study.name}” was revised by somebody else since you opened this page")
    configuration = replace(current_configuration, **changes)
    if configuration == current_configuration:
        return current_version
    try:
        changed = [name for name in sorted(changes) if changes[name] != getattr(current_configuration, name)]
        version = _create_version(study, current_version, configuration, actor, changed)
    except IntegrityError as error:  # another revision took the same number at the same moment
        raise StaleRevisionError(f"“{study.name}” was revised by somebody else at the same moment") from error
    study.refresh_from_db(fields=["current_version"])
    return version


def _create_version(
    study: Study,
    current_version: StudyVersion,
    configuration: StudyConfiguration,
    actor: AbstractBaseUser | None,
    settings: list[str],
) -> StudyVersion:
    """Write a version and put it in force by a conditional update; ``settings`` are the names that changed."""
    with transaction.atomic():
        version = StudyVersion.objects.create(
            study=study,
            number=study.versions.count() + 1,
            configuration=configuration.to_json(),
            sha256=configuration.sha256,
        )
        row = Study.objects.filter(pk=study.pk, state__in=STATES, current_version=current_version)
        if not row.update(current_version=version):
            study.refresh_from_db(fields=["state"])
            if study.state in STATES:
                raise StaleRevisionError(f"“{study.name}” was revised by somebody else at the same moment")
            raise RevisionError(f"“{study.name}” is {study.state}; it cannot be revised")
        audit.record(study, "revised", actor=actor, changed=settings, version_hash=version.sha256)
    return version
