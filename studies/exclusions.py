"""Exclude an evaluator's ratings from the results, and include them again; nothing is deleted.

The places of somebody who is left out may be freed: then others are given the pairs, and rate them instead. If the
evaluator is counted again, those ratings count whose place is still free; the others stay left out one by one.
"""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.models import Evaluator, Exclusion, Rating, Trial

REASON_LIMIT = 200  # characters
REPLACED = "others rated the pair while this evaluator was left out"


class ExclusionError(InputError):
    """An exclusion that cannot be made or lifted; the message says why."""


def exclude(evaluator: Evaluator, *, reason: str, actor: AbstractBaseUser, free: bool = False) -> Exclusion:
    """Leave all of an evaluator's ratings out of the results, for a reason that is recorded.

    free: their pairs are given to others, too.
    """
    reason = reason.replace("\0", "").strip()
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
            if free:
                free_places(evaluator, actor=actor)
    except IntegrityError as error:  # one_exclusion_in_force_per_evaluator
        raise ExclusionError("this evaluator is excluded already") from error
    return exclusion


def free_places(evaluator: Evaluator, *, actor: AbstractBaseUser) -> None:
    """Give the pairs of an excluded evaluator to others, answered ones too; a repeated call changes nothing.

    An answer that is stored at the same moment waits for the evaluator's row, and then fills no place.
    """
    if not Exclusion.objects.filter(evaluator=evaluator, lifted_at=None).exists():
        raise ExclusionError("leave this evaluator out first: only then can others be given the pairs")
    with transaction.atomic():
        Evaluator.objects.select_for_update().get(pk=evaluator.pk)
        begun = Evaluator.objects.filter(pk=evaluator.pk, freed_at=None).update(freed_at=timezone.now())
        places = Rating.objects.filter(evaluator=evaluator).exclude(slot=None).update(slot=None)
        if begun or places:
            audit.record(evaluator.study, "places freed", actor=actor, evaluator=evaluator.pk, places=places)


def gave_all_away(evaluator: Evaluator) -> bool:
    """Whether all pairs of somebody who is left out were given to others, answered ones too."""
    return Evaluator.objects.filter(all_given_away(), pk=evaluator.pk).exists()


def all_given_away(prefix: str = "") -> Q:
    """Return the condition of ``gave_all_away``. prefix: the way to the evaluator, as ``booklet__evaluator__``."""
    person = OuterRef(f"{prefix}pk")
    left_out = Exclusion.objects.filter(evaluator=person, lifted_at=None)
    filled = Rating.objects.filter(evaluator=person, slot__isnull=False, superseded=False)
    return Q(Exists(left_out), ~Exists(filled), **{f"{prefix}freed_at__isnull": False})


def free_open_pairs(evaluator: Evaluator, *, actor: AbstractBaseUser) -> None:
    """Give what an evaluator has not answered to others, who need not wait for the silence; answers stay and count.

    A repeated call changes nothing. ``keep_open_pairs`` takes it back, as far as nobody was given the pairs.
    """
    if evaluator.finished_at or evaluator.withdrawn_at or evaluator.screened_out_at:
        raise ExclusionError("whoever has come to an end holds no place any more")
    with transaction.atomic():
        if Evaluator.objects.filter(pk=evaluator.pk, freed_at=None).update(freed_at=timezone.now()):
            audit.record(evaluator.study, "open pairs freed", actor=actor, evaluator=evaluator.pk)


def keep_open_pairs(evaluator: Evaluator, *, actor: AbstractBaseUser) -> None:
    """Let an evaluator have their open pairs again, whom nobody has left out; a repeated call changes nothing."""
    if Exclusion.objects.filter(evaluator=evaluator, lifted_at=None).exists():
        raise ExclusionError("this evaluator is left out: count them again first")
    with transaction.atomic():
        if Evaluator.objects.filter(pk=evaluator.pk, freed_at__isnull=False).update(freed_at=None):
            audit.record(evaluator.study, "open pairs kept", actor=actor, evaluator=evaluator.pk)


def lift(evaluator: Evaluator, *, actor: AbstractBaseUser) -> None:
    """Count an evaluator's ratings again; a repeated call changes nothing. The exclusion stays on record, as lifted.

    Where the places had been freed, a rating whose place others have filled stays left out.
    """
    in_force = Exclusion.objects.filter(evaluator=evaluator, lifted_at=None)
    with transaction.atomic():
        freed = Evaluator.objects.select_for_update().get(pk=evaluator.pk).freed_at is not None
        if in_force.update(lifted_at=timezone.now(), lifted_by_id=actor.pk):
            replaced = _take_places_back(evaluator, actor) if freed else 0
            audit.record(evaluator.study, "exclusion lifted", actor=actor, evaluator=evaluator.pk, replaced=replaced)


def _take_places_back(evaluator: Evaluator, actor: AbstractBaseUser) -> int:
    """Give ratings their slots again; those whose slot is filled are excluded singly. Returns how many those are."""
    Evaluator.objects.filter(pk=evaluator.pk).update(freed_at=None)
    if evaluator.withdrawn_at is not None:
        return 0  # withdrawn answers fill no place
    ratings = Rating.objects.filter(
        evaluator=evaluator, superseded=False, counted=True, slot=None, trial__kind=Trial.Kind.MAIN
    )
    replaced = 0
    for rating in ratings.select_related("trial"):
        try:
            with transaction.atomic():
                Rating.objects.filter(pk=rating.pk).update(slot=rating.trial.slot)
        except IntegrityError:  # one_counted_rating_per_slot
            replaced += 1
            Exclusion.objects.get_or_create(
                study=evaluator.study,
                rating=rating,
                lifted_at=None,
                defaults={"reason": REPLACED, "made_by_id": actor.pk},
            )
        else:
            Exclusion.objects.filter(rating=rating, reason=REPLACED, lifted_at=None).update(
                lifted_at=timezone.now(), lifted_by_id=actor.pk
            )
    return replaced
