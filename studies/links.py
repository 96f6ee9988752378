"""Make links anew, so that the old ones open nothing, and change the note on who holds one."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.models.designs import new_nonce


class NoteError(InputError):
    """A note that is too long; nothing was changed."""


def renew_enrolment_link(study: Study, *, actor: AbstractBaseUser | None = None) -> None:
    """Make a study's enrolment link anew. Personal links stay."""
    with transaction.atomic():
        Study.objects.filter(pk=study.pk).update(link_nonce=new_nonce())
        audit.record(study, "enrolment link renewed", actor=actor)


def renew_personal_link(person: Evaluator, *, actor: AbstractBaseUser | None = None) -> None:
    """Make a person's link anew."""
    with transaction.atomic():
        Evaluator.objects.filter(pk=person.pk).update(nonce=new_nonce())
        audit.record(person.study, "personal link renewed", actor=actor, evaluator=person.pk)


def change_note(person: Evaluator, note: str, *, actor: AbstractBaseUser | None = None) -> None:
    """Change the note on a person; an equal one is no change. Raises ``NoteError`` for one that is too long."""
    note = note.replace("\0", "").strip()
    limit = Evaluator._meta.get_field("note").max_length or 0
    if len(note) > limit:
        raise NoteError(f"The note has {len(note)} characters; {limit} are the most. Nothing was changed.")
    if note != person.note:
        with transaction.atomic():
            Evaluator.objects.filter(pk=person.pk).update(note=note)
            audit.record(person.study, "note changed", actor=actor, evaluator=person.pk)
