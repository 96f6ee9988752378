"""Decide who may do what: evaluators by the token in their link, study admins by their role in a study."""

from __future__ import annotations

import base64
from enum import StrEnum

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import Case, CharField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.urls import reverse

from evenhand.studies import log_ids
from evenhand.studies.keys import is_known, keyed_hash, known_hashes
from evenhand.studies.models import Evaluator, Membership, Study

SEPARATOR = "."
PLAN = "studies.add_study"  # the permission to create studies


SIGNATURE_DIGITS = 32  # 128 bits


def _message(evaluator: Evaluator) -> str:
    return f"evaluator:{evaluator.public_id}:{evaluator.nonce}"


def token_for(evaluator: Evaluator) -> str:
    """Return the credential of an evaluator's link: a public id, and an HMAC of it and the nonce under the secret."""
    return f"{evaluator.public_id}{SEPARATOR}{keyed_hash(_message(evaluator))[:SIGNATURE_DIGITS]}"


def link_for(evaluator: Evaluator) -> str:
    """Return the path of an evaluator's link."""
    return reverse("rating:home", args=[token_for(evaluator)])


def evaluator_for(token: str) -> Evaluator:
    """Return the evaluator whom a token names; ``Http404`` for any other text, without saying what is wrong with it."""
    public_id, _, signature = token.partition(SEPARATOR)
    try:
        # get does not sort, as first would: it runs at every answer; no id has 17 characters
        evaluator = Evaluator.objects.select_related("study__current_version").get(public_id=public_id[:17])
    except Evaluator.DoesNotExist as error:
        raise Http404("no such link") from error
    if not is_known(_message(evaluator), signature, SIGNATURE_DIGITS):
        raise Http404("no such link")
    log_ids.note(study=evaluator.study_id)
    return evaluator


def _enrolment(study: Study) -> str:
    return f"enrolment:{study.pk}:{study.link_nonce}"


def enrolment_link(study: Study) -> str:
    """Return the path at which anybody may enrol. A new ``link_nonce`` revokes it."""
    signature = keyed_hash(_enrolment(study))[:SIGNATURE_DIGITS]
    return reverse("enrolment:join", args=[f"{study.pk}{SEPARATOR}{signature}"])


def study_to_join(token: str) -> Study:
    """Return the study that an enrolment link names; ``Http404`` for any other text."""
    number, _, signature = token.partition(SEPARATOR)
    study = (
        Study.objects.select_related("current_version").filter(pk=int(number)).first()
        if number.isascii() and number.isdigit() and len(number) < 18
        else None
    )
    if study is None or not is_known(_enrolment(study), signature, SIGNATURE_DIGITS):
        raise Http404("no such link")
    return study


def panel_hmac(study: Study, external_key: str) -> str:
    """Return a keyed hash of a panel's id, 64 hex digits: it tells the same person again and cannot be turned back."""
    return keyed_hash(f"panel:{study.pk}:{external_key}")


def has_panel_id(study: Study, external_key: str) -> Q:
    """Return the condition that an evaluator of a study has a panel's id, also where only its keyed hash is left."""
    hashes = known_hashes(f"panel:{study.pk}:{external_key}")
    return Q(study=study) & (Q(external_key=external_key) | Q(external_hmac__in=hashes))


def own_codes(evaluator: Evaluator) -> list[str]:
    """Return the codes by which a panel may know that this evaluator has finished, one a secret, the newest first."""
    hashes = known_hashes(f"completion:{evaluator.public_id}")
    return [base64.b32encode(bytes.fromhex(each)).decode()[:8] for each in hashes]


def completion_code(evaluator: Evaluator, study_code: str) -> str:
    """Return the code that proves to a panel that this evaluator has finished.

    It is the study's code, or the evaluator's own where the study has none.
    """
    return study_code or own_codes(evaluator)[0]


class Right(StrEnum):
    """What a role allows in a study; each right includes those before it."""

    READ = "read"  # pages, results, exports without panel ids
    CHANGE = "change"  # all but what follows
    OWN = "own"  # delete it, change its members, see which pseudonym has which panel id


OWNER, SUPERUSER = "owner", "superuser"
RIGHTS = {
    Membership.Role.VIEWER.value: Right.READ,
    Membership.Role.COLLABORATOR.value: Right.CHANGE,
    OWNER: Right.OWN,
    SUPERUSER: Right.OWN,
}


def allows(role: str, right: Right) -> bool:
    """Whether a role includes a right; no role, the empty text, includes none."""
    order = list(Right)
    return role in RIGHTS and order.index(RIGHTS[role]) >= order.index(right)


def studies_of(user: AbstractBaseUser | AnonymousUser, right: Right = Right.READ) -> QuerySet[Study]:
    """Return the studies in which a user has a right, all for a superuser; each bears the role as ``my_role``."""
    if getattr(user, "is_superuser", False):
        return Study.objects.annotate(my_role=Value(SUPERUSER))
    mine = Membership.objects.filter(user=user.pk)
    roles = [role for role in Membership.Role.values if allows(role, right)]
    role_here = Subquery(mine.filter(study=OuterRef("pk")).values("role")[:1])
    return Study.objects.filter(Q(owner=user.pk) | Q(pk__in=mine.filter(role__in=roles).values("study"))).annotate(
        my_role=Case(When(owner=user.pk, then=Value(OWNER)), default=role_here, output_field=CharField())
    )


def study_of(user: AbstractBaseUser | AnonymousUser, pk: int, right: Right = Right.CHANGE) -> Study:
    """Return a study in which the user has a right, by default the right to change it.

    Raises ``Http404`` where the user has no role in it, as for one that does not exist, and ``PermissionDenied`` where
    the role does not include the right.
    """
    study = get_object_or_404(studies_of(user), pk=pk)
    log_ids.note(study=study.pk)
    check_right(study, right)
    return study


def check_right(study: Study, right: Right) -> None:
    """Raise ``PermissionDenied`` where the role that a study of ``studies_of`` bears does not include the right."""
    role = role_in(study)
    if not allows(role, right):
        raise PermissionDenied(f"you are {role} of “{study.name}”, and {NEEDED[right]}")


NEEDED = {
    Right.READ: "this needs a role in it",
    Right.CHANGE: "this needs a collaborator or the owner",
    Right.OWN: "this is for its owner alone",
}


def role_in(study: Study) -> str:
    """Return the role that a study of ``studies_of`` bears: viewer, collaborator, owner, superuser; else nothing."""
    role: str = getattr(study, "my_role", "")
    return role


def may_plan(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether a user may create studies, and bring prompts and pictures for them."""
    return bool(user.has_perm(PLAN))  # type: ignore[union-attr]


def check_may_plan(user: AbstractBaseUser | AnonymousUser) -> None:
    """Raise ``PermissionDenied`` for a user who may not create studies."""
    if not may_plan(user):
        raise PermissionDenied("your account may not create studies; who gives out accounts can allow it")
