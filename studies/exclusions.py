"""Exclude an evaluator's ratings from the results, and include them again; nothing is deleted."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.models import Evaluator, Exclusion

REASON_LIMIT = 200  # characters


class ExclusionError(InputError):
    """An exclusion that cannot be made or lifted; the message says why."""


def exclude(evaluator: Evaluator, *, reason: str, actor: AbstractBaseUser) -> Exclusion:
    """Leave all of an evaluator's ratings out of the results, for a reason that is recorded."""
    reason = reason.strip()
    if not reason:
        raise ExclusionError("give a reason: it stands beside the ratings in the CSV")
    if len(reason) > REASON_LIMIT:
        raise ExclusionError(f"the reason has {len(reason)} characters; {REASON_LIMIT} are the most")
    try:
        with transaction.atomic():
            exclusion = Exclusion.objects.create(
                study=evaluator.study, evaluator=evaluator, reason=reason, made_by_id=actor.pk
            )
            audit.record(evaluator.study, "excluded", actor=actor, evaluator=evaluator.pk, reason=exclusion.reason)
    except IntegrityError as error:  # one_exclusion_in_force_per_evaluator
        raise ExclusionError("this evaluator is excluded already") from error
    return exclusion


def lift(evaluator: Evaluator, *, actor: AbstractBaseUser) -> None:
    """Count an evaluator's ratings again; a repeated call changes nothing. The exclusion stays on record, as lifted."""
    in_force = Exclusion.objects.filter(evaluator=evaluator, lifted_at=None)
    with transaction.atomic():
        if in_force.update(lifted_at=timezone.now(), lifted_by_id=actor.pk):
            audit.record(evaluator.study, "exclusion lifted", actor=actor, evaluator=evaluator.pk)
