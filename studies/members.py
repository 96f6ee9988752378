"""Give people roles in a study, change them and take them back; each step is an audit event."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.models import Membership, Study


class MemberError(InputError):
    """A role that cannot be given or taken; nothing was changed."""


def set_role(study: Study, username: str, role: str, *, actor: AbstractBaseUser | None = None) -> Membership:
    """Give a user a role in a study, or another one. Raises ``MemberError`` for an unknown user or role."""
    if role not in Membership.Role.values:
        raise MemberError(f"a role is {' or '.join(Membership.Role.values)}, not “{role}”")
    users = get_user_model()
    user = users.objects.filter(**{users.USERNAME_FIELD: username.strip()}, is_active=True).first()
    if user is None:
        raise MemberError(f"there is no account “{username.strip()}”; whoever gives out accounts can make one")
    if user.pk == study.owner_id:
        raise MemberError(f"{username.strip()} owns “{study.name}” and has every right in it")
    with transaction.atomic():
        member, is_new = Membership.objects.get_or_create(study=study, user=user, defaults={"role": role})
        if is_new:
            audit.record(study, "member added", actor=actor, username=user.get_username(), role=role)
        elif member.role != role:
            before, member.role = member.role, role
            member.save(update_fields=["role"])
            audit.record(study, "role changed", actor=actor, username=user.get_username(), role=role, before=before)
    return member


def remove_member(member: Membership, *, actor: AbstractBaseUser | None = None) -> None:
    """Take a user's role in a study back."""
    with transaction.atomic():
        if Membership.objects.filter(pk=member.pk).delete()[0]:
            audit.record(
                member.study, "member removed", actor=actor, username=member.user.get_username(), role=member.role
            )
