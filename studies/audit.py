"""Record every change of a study in its audit log."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from evenhand.studies.models import AuditEvent, Study

BUNDLE = "bundle written"
INVITED = "invited"
SIMULATED = "simulated"
TABLE, PEOPLE, LINKS = "table downloaded", "people downloaded", "links downloaded"
PERSON = "person’s data downloaded"
READ_BY_API = "read by the API"
TOKEN_MADE, TOKEN_REVOKED = "API token made", "API token revoked"  # of an account, not of a study
DOWNLOADS = (BUNDLE, TABLE, PEOPLE, LINKS, PERSON, READ_BY_API)  # change nothing in the study


def record(study: Study | None, action: str, *, actor: AbstractBaseUser | None = None, **detail: Any) -> AuditEvent:
    """Record that ``actor`` (none: the system) did ``action``; ``detail`` must be JSON. No study: of the account."""
    return AuditEvent.objects.create(study=study, actor_id=actor.pk if actor else None, action=action, detail=detail)


def record_bundle(
    study: Study, *, root: str, anonymous: bool, size: int, actor: AbstractBaseUser | None = None
) -> None:
    """Record that a bundle was written, with its root (64 hex digits) and its bytes unpacked."""
    record(study, BUNDLE, actor=actor, root=root, anonymous=anonymous, size=size)
