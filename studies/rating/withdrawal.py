"""Withdraw an evaluator's answers from the results, and delete their content on request."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from evenhand.studies import audit
from evenhand.studies.models import Evaluator, Rating


def withdraw(evaluator: Evaluator, *, delete: bool = False) -> None:
    """Take an evaluator's answers out of the results; ``delete`` deletes their content too, now or in a later call.

    A deleted answer keeps its place and its hashes, so that the chain can still be checked. A repeated call changes
    nothing.
    """
    now = timezone.now()
    with transaction.atomic():
        withdrawals = Evaluator.objects.filter(pk=evaluator.pk, withdrawn_at=None).update(withdrawn_at=now)
        Rating.objects.filter(evaluator=evaluator).exclude(slot=None).update(slot=None)  # others may fill them
        deletions = 0
        if delete:
            deletions = Rating.objects.filter(evaluator=evaluator, deleted_at=None).update(
                choice=None, elapsed_ms=None, viewport={}, deleted_at=now
            )
        if withdrawals or deletions:
            audit.record(evaluator.study, "withdrawal", evaluator=evaluator.pk, deleted=deletions)
    evaluator.refresh_from_db(fields=["withdrawn_at"])
