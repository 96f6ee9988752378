"""Withdraw an evaluator's answers from the results, and delete their content and identifiers on request."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from evenhand.studies import audit
from evenhand.studies.access import panel_hmac
from evenhand.studies.models import Evaluator, Rating, Skip


def withdraw(evaluator: Evaluator, *, delete: bool = False, actor: AbstractBaseUser | None = None) -> None:
    """Take an evaluator's answers out of the results; ``delete`` deletes what they gave too, now or in a later call.

    A deleted answer keeps its place and its hashes, so that the chain can still be checked. Of a panel's id a keyed
    hash remains, so that nobody takes part twice. A repeated call changes nothing. ``actor``: an account that does it
    in the evaluator's place.
    """
    now = timezone.now()
    with transaction.atomic():
        withdrawals = Evaluator.objects.filter(pk=evaluator.pk, withdrawn_at=None).update(withdrawn_at=now)
        Rating.objects.filter(evaluator=evaluator).exclude(slot=None).update(slot=None)  # others may fill them
        deletions = 0
        deleted = delete and _delete_identity(evaluator)
        if deleted:
            deletions = Rating.objects.filter(evaluator=evaluator, deleted_at=None).update(
                choice=None, both_bad=False, reasons=[], remark="", elapsed_ms=None, viewport={}, deleted_at=now
            )
            Skip.objects.filter(trial__booklet__evaluator=evaluator).update(note="")
        if withdrawals or deleted:
            detail = {"evaluator": evaluator.pk, "deleted": deletions, "asked": actor is not None}
            audit.record(evaluator.study, "withdrawal", actor=actor, **detail)
    evaluator.refresh_from_db()


def _delete_identity(evaluator: Evaluator) -> bool:
    """Empty what may name the person, and keep the keyed hash; false where that was done before."""
    locked = Evaluator.objects.select_for_update().get(pk=evaluator.pk)
    if locked.deleted_at is not None:
        return False
    if locked.external_key:
        locked.external_hmac = panel_hmac(evaluator.study, locked.external_key)
    locked.external_key, locked.external_ids, locked.later_ids, locked.note = None, {}, [], ""
    locked.comprehension_wrong, locked.deleted_at = [], timezone.now()
    locked.save(
        update_fields=[
            "external_hmac",
            "external_key",
            "external_ids",
            "later_ids",
            "note",
            "comprehension_wrong",
            "deleted_at",
        ]
    )
    return True
