"""Make, check and revoke the tokens by which programs read the API for a user."""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.keys import keyed_hash, known_hashes
from evenhand.studies.models import ApiToken

BEGINNING = "evenhand_"  # by which people and scanners of leaked secrets know a token


class TokenError(InputError):
    """A token that cannot be made, or that opens nothing."""


def make_token(user: AbstractBaseUser, name: str, *, expires_on: date | None = None) -> tuple[ApiToken, str]:
    """Make a token; return its record and its text, which nobody can see again.

    Raises ``TokenError`` for an empty or long name, one that another token in force has, and a day that has passed.
    """
    name, longest = name.strip(), ApiToken._meta.get_field("name").max_length or 0
    if not name or len(name) > longest:
        raise TokenError(f"a token's name has 1 to {longest} characters")
    if expires_on is not None and expires_on < _today():
        raise TokenError(f"{expires_on} has passed")
    text = BEGINNING + secrets.token_urlsafe(32)
    try:
        with transaction.atomic():
            hashed = keyed_hash(f"api:{text}")
            token = ApiToken.objects.create(user_id=user.pk, name=name, hmac=hashed, expires_on=expires_on)
            expires = {"expires_on": str(expires_on)} if expires_on else {}
            audit.record(None, audit.TOKEN_MADE, actor=user, token=name, **expires)
    except IntegrityError as error:
        raise TokenError(f"there is a token named “{name}” already; revoke it first, or take another name") from error
    return token, text


def revoke_token(token: ApiToken, *, actor: AbstractBaseUser | None = None) -> None:
    """Let a token open nothing from now on. One that is revoked already stays as it is."""
    with transaction.atomic():
        if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
            audit.record(None, audit.TOKEN_REVOKED, actor=actor, token=token.name)


def token_of(text: str) -> ApiToken:
    """Return the token with this text, its user with it, and note the day. Raises ``TokenError``."""
    hashes = known_hashes(f"api:{text}")
    token = ApiToken.objects.select_related("user").filter(hmac__in=hashes).first()
    if token is None or not token.user.is_active:
        raise TokenError("this token opens nothing")
    if token.revoked_at is not None:
        raise TokenError(f"the token “{token.name}” is revoked")
    today = _today()
    if token.expires_on is not None and token.expires_on < today:
        raise TokenError(f"the token “{token.name}” ended on {token.expires_on}")
    if token.last_used_on != today or token.hmac != hashes[0]:  # of an older secret
        ApiToken.objects.filter(pk=token.pk).update(last_used_on=today, hmac=hashes[0])
    return token


def _today() -> date:
    return datetime.now(UTC).date()
