"""Leaving a study: an evaluator's answers leave the results, and on request lose their content for good."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from evenhand.studies import audit
from evenhand.studies.models import Evaluator, Rating


def withdraw(evaluator: Evaluator, *, delete: bool = False) -> None:
    """Take an evaluator's answers out of the results; ``delete`` also empties them, at once or at a later request.

    An emptied answer keeps its place and its hashes, so that the chain can still be checked. Repeated, it changes
    nothing.
    """
    now = timezone.now()
    with transaction.atomic():
        left = Evaluator.objects.filter(pk=evaluator.pk, withdrawn_at=None).update(withdrawn_at=now)
        Rating.objects.filter(evaluator=evaluator).exclude(slot=None).update(slot=None)  # others may fill them
        deleted = 0
        if delete:
            deleted = Rating.objects.filter(evaluator=evaluator, deleted_at=None).update(
                choice=None, elapsed_ms=None, viewport={}, deleted_at=now
            )
        if left or deleted:
            audit.record(evaluator.study, "withdrawal", evaluator=evaluator.pk, deleted=deleted)
    evaluator.refresh_from_db(fields=["withdrawn_at"])
