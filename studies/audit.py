"""Record every change of a study in its audit log."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from evenhand.studies.models import AuditEvent, Study


def record(study: Study, action: str, *, actor: AbstractBaseUser | None = None, **detail: Any) -> AuditEvent:
    """Record that ``actor`` (none: the system) did ``action``; ``detail`` must be JSON."""
    return AuditEvent.objects.create(study=study, actor_id=actor.pk if actor else None, action=action, detail=detail)
