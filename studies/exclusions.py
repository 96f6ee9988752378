"""Leaving an evaluator's ratings out of the results, and taking them in again. Nothing is deleted."""

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
    """Leave out all of an evaluator's ratings, from now on, for a reason that is kept."""
    reason = reason.strip()
    if not reason:
        raise ExclusionError("give a reason: it stands beside the ratings in the CSV")
    if len(reason) > REASON_LIMIT:
        raise ExclusionError(f"the reason has {len(reason)} characters; {REASON_LIMIT} are the most")
    try:
        with transaction.atomic():
            made = Exclusion.objects.create(
                study=evaluator.study, evaluator=evaluator, reason=reason, made_by_id=actor.pk
            )
            audit.record(evaluator.study, "excluded", actor=actor, evaluator=evaluator.pk, reason=made.reason)
    except IntegrityError as error:  # one_exclusion_in_force_per_evaluator
        raise ExclusionError("this evaluator is excluded already") from error
    return made


def lift(evaluator: Evaluator, *, actor: AbstractBaseUser) -> None:
    """Count an evaluator's ratings again; repeated, it changes nothing. The exclusion stays on record, as lifted."""
    in_force = Exclusion.objects.filter(evaluator=evaluator, lifted_at=None)
    with transaction.atomic():
        if in_force.update(lifted_at=timezone.now(), lifted_by_id=actor.pk):
            audit.record(evaluator.study, "exclusion lifted", actor=actor, evaluator=evaluator.pk)
