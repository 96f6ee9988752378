"""Decide who may do what: evaluators by the token in their link, study admins by ownership."""

from __future__ import annotations

import base64
import hashlib
import hmac

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.urls import reverse

from evenhand.studies.models import Evaluator, Study

SEPARATOR = "."


def _signature(evaluator: Evaluator) -> str:
    message = f"evaluator:{evaluator.public_id}:{evaluator.nonce}".encode()
    digest = hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).hexdigest()
    return digest[:32]  # 128 bits


def token_for(evaluator: Evaluator) -> str:
    """Return the credential of an evaluator's link: a public id, and an HMAC of it and the nonce under the secret."""
    return f"{evaluator.public_id}{SEPARATOR}{_signature(evaluator)}"


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
    if not hmac.compare_digest(_signature(evaluator).encode(), signature.encode()):
        raise Http404("no such link")
    return evaluator


def _enrolment_signature(study: Study) -> str:
    message = f"enrolment:{study.pk}:{study.link_nonce}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).hexdigest()[:32]


def enrolment_link(study: Study) -> str:
    """Return the path at which anybody may enrol. A new ``link_nonce`` revokes it."""
    return reverse("enrolment:join", args=[f"{study.pk}{SEPARATOR}{_enrolment_signature(study)}"])


def study_to_join(token: str) -> Study:
    """Return the study that an enrolment link names; ``Http404`` for any other text."""
    number, _, signature = token.partition(SEPARATOR)
    study = (
        Study.objects.select_related("current_version").filter(pk=int(number)).first()
        if number.isascii() and number.isdigit() and len(number) < 18
        else None
    )
    if study is None or not hmac.compare_digest(_enrolment_signature(study).encode(), signature.encode()):
        raise Http404("no such link")
    return study


def panel_hmac(study: Study, external_key: str) -> str:
    """Return a keyed hash of a panel's id, 64 hex digits: it tells the same person again and cannot be turned back."""
    message = f"panel:{study.pk}:{external_key}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).hexdigest()


def completion_code(evaluator: Evaluator, study_code: str) -> str:
    """Return the code that proves to a panel that this evaluator has finished.

    It is the study's code, or the evaluator's own where the study has none.
    """
    if study_code:
        return study_code
    message = f"completion:{evaluator.public_id}".encode()
    digest = hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).digest()
    return base64.b32encode(digest).decode()[:8]


def studies_of(user: AbstractBaseUser | AnonymousUser) -> QuerySet[Study]:
    """Return the studies that a user may see and change: all for a superuser, else the user's own."""
    if getattr(user, "is_superuser", False):
        return Study.objects.all()
    return Study.objects.filter(owner_id=user.pk)


def study_of(user: AbstractBaseUser | AnonymousUser, pk: int) -> Study:
    """Return one of the user's studies; ``Http404`` for another user's study, as for one that does not exist."""
    return get_object_or_404(studies_of(user), pk=pk)
