"""Mark a pair as unusable, and take the mark back; nothing is deleted.

Whoever has not answered the pair yet is not asked about it any more. Its ratings stay stored, and results leave them
out while the mark stands.
"""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.models import Exclusion, Pair, Study

REASON_LIMIT = 200  # characters


class UnusableError(InputError):
    """A mark that cannot be made; the message says why, and nothing was changed."""


def marks_in_force(study: Study | None = None) -> QuerySet[Exclusion]:
    """Return the marks that stand, of all studies or of one."""
    marks = Exclusion.objects.filter(pair__isnull=False, lifted_at=None)
    return marks if study is None else marks.filter(study=study)


def is_unusable(pair: int | None) -> bool:
    """Whether a pair is marked, by its number in the database; none is not."""
    return pair is not None and marks_in_force().filter(pair=pair).exists()


def mark_unusable(pair: Pair, *, reason: str, actor: AbstractBaseUser) -> Exclusion:
    """Mark a pair, for a reason that is recorded. Raises ``UnusableError`` without a reason, and for a marked pair."""
    reason = reason.replace("\0", "").strip()
    if not reason:
        raise UnusableError("give a reason: it stands beside the pair's ratings in the CSV")
    if len(reason) > REASON_LIMIT:
        raise UnusableError(f"the reason has {len(reason)} characters; {REASON_LIMIT} are the most")
    study = pair.comparison.study
    try:
        with transaction.atomic():
            mark = Exclusion.objects.create(study=study, pair=pair, reason=reason, made_by_id=actor.pk)
            audit.record(study, "pair marked unusable", actor=actor, **_named(pair), reason=reason)
    except IntegrityError as error:  # one_exclusion_in_force_per_pair
        raise UnusableError("this pair is marked as unusable already") from error
    return mark


def take_back(pair: Pair, *, actor: AbstractBaseUser) -> None:
    """Use a pair again; a repeated call changes nothing. The mark stays on record, as lifted."""
    with transaction.atomic():
        if marks_in_force().filter(pair=pair).update(lifted_at=timezone.now(), lifted_by_id=actor.pk):
            audit.record(pair.comparison.study, "pair used again", actor=actor, **_named(pair))


def _named(pair: Pair) -> dict[str, int | str]:
    return {"pair": pair.pk, "comparison": pair.comparison.position + 1, "prompt": pair.prompt.text}
