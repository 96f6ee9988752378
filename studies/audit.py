"""Record every change of a study in its audit log."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from evenhand.studies.models import AuditEvent, Study

BUNDLE = "bundle written"


def record(study: Study, action: str, *, actor: AbstractBaseUser | None = None, **detail: Any) -> AuditEvent:
    """Record that ``actor`` (none: the system) did ``action``; ``detail`` must be JSON."""
    return AuditEvent.objects.create(study=study, actor_id=actor.pk if actor else None, action=action, detail=detail)


def record_bundle(
    study: Study, *, root: str, anonymous: bool, size: int, actor: AbstractBaseUser | None = None
) -> None:
    """Record that a bundle was written, with its root (64 hex digits) and its bytes unpacked."""
    record(study, BUNDLE, actor=actor, root=root, anonymous=anonymous, size=size)
