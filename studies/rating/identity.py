"""Tell who comes by a panel's link: read the panel's ids, refuse unfilled ones, and ask for a proof of who returns.

A panel's id of a person is no secret, so that it opens nobody's place by itself. The proof is one of: this browser's
signed cookie, the panel's id of the same submission, or the personal link.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.core import signing
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.panels import submission_parameter

COOKIE_DAYS = 90
LONGEST_ID = 200
MOST_VISITS = 50  # later visits whose ids are kept
UNFILLED_WORDS = {"null", "undefined", "none", "nil", "nan", "test", "id", "participant", "…", "..."}
UNFILLED_SIGNS = re.compile(r"[{}\[\]<>%$]")


class LostId(ValueError):
    """A panel's link came without its person's id: empty, left out, or a placeholder that the panel did not fill."""


class BadId(ValueError):
    """A parameter of a panel's link cannot be stored; the message is its name."""


def is_unfilled(value: str, name: str = "") -> bool:
    """Whether a parameter's value is what stands there when a panel fills nothing in."""
    word = value.strip().casefold()
    return not word or word in UNFILLED_WORDS | {name.casefold()} or bool(UNFILLED_SIGNS.search(word))


def panel_ids(values: Mapping[str, Any], configuration: StudyConfiguration) -> dict[str, str]:
    """Return the panel's ids that a link or a form carries; none where it is no panel's link.

    Raises ``LostId`` where the person's own id is missing beside others or is unfilled, ``BadId`` for a value that is
    too long or cannot be stored. Other parameters that are unfilled are left out.
    """
    names = configuration.panel_parameters
    given = {name: str(values[name]).strip() for name in names if name in values}
    if not given:
        return {}
    for name, value in given.items():
        if len(value) > LONGEST_ID or "\0" in value:
            raise BadId(name)
    if is_unfilled(given.get(names[0], ""), names[0]):
        raise LostId(names[0])
    return {name: value for name, value in given.items() if not is_unfilled(value, name)}


def count_lost(study: Study) -> None:
    """Count a visit without the person's id, for the study admin; it changes nothing that an evaluator could see."""
    Study.objects.filter(pk=study.pk).update(
        visits_without_id=F("visits_without_id") + 1, last_visit_without_id=timezone.now()
    )


def is_proven(
    evaluator: Evaluator, ids: Mapping[str, str], cookie: str | None, configuration: StudyConfiguration
) -> bool:
    """Whether whoever brings a panel's ids may open this evaluator's place.

    cookie: the public id that this browser's signed cookie names. Before the consent there is nothing to protect, so
    that a person may move from a phone to a computer.
    """
    if cookie == evaluator.public_id or (evaluator.consented_at is None and evaluator.withdrawn_at is None):
        return True
    name = submission_parameter(configuration.panel_parameters)
    submission = ids.get(name) if name else None
    visits = (evaluator.external_ids, *(visit["ids"] for visit in evaluator.later_ids))
    return submission is not None and any(visit.get(name) == submission for visit in visits)


def is_new_visit(evaluator: Evaluator, ids: Mapping[str, str]) -> bool:
    """Whether a known person comes with ids that are not stored yet; where they were deleted, none is again."""
    visits = (evaluator.external_ids, *(visit["ids"] for visit in evaluator.later_ids))
    forgotten = evaluator.external_key is None and bool(evaluator.external_hmac)
    return not forgotten and evaluator.deleted_at is None and not any(ids.items() <= visit.items() for visit in visits)


def store_visit(evaluator: Evaluator, ids: Mapping[str, str]) -> None:
    """Store the ids of a later visit beside the first ones; a repeated call changes nothing."""
    with transaction.atomic():
        locked = Evaluator.objects.select_for_update().get(pk=evaluator.pk)
        if is_new_visit(locked, ids) and len(locked.later_ids) < MOST_VISITS:
            locked.later_ids = [*locked.later_ids, {"at": timezone.now().isoformat(), "ids": dict(ids)}]
            locked.save(update_fields=["later_ids"])


# ------------------------------------------------------------------------------ this browser's cookie


COOKIE = "evenhand-study-"


def cookie_name(study: Study) -> str:
    """Return the name of a study's cookie."""
    return f"{COOKIE}{study.pk}"


def cookie_of(request: HttpRequest, study: Study) -> str | None:
    """Return the public id that this browser's cookie names; None without one, or with a forged or an old one."""
    return _value_of(request, cookie_name(study))


def cookies_of(request: HttpRequest) -> dict[int, str]:
    """Return the public ids that this browser's cookies name, by study; forged and old ones are left out."""
    numbers = [name.removeprefix(COOKIE) for name in request.COOKIES if name.startswith(COOKIE)]
    found = {number: _value_of(request, f"{COOKIE}{number}") for number in numbers if number.isascii()}
    return {int(number): value for number, value in found.items() if value and number.isdigit()}


def _value_of(request: HttpRequest, name: str) -> str | None:
    try:
        value: str | None = request.get_signed_cookie(name, default=None, max_age=COOKIE_DAYS * 86400)
    except signing.BadSignature:
        return None
    return value


def set_cookie(response: HttpResponseBase, evaluator: Evaluator, study: Study) -> None:
    """Let this browser be known when it comes back by the study's link."""
    response.set_signed_cookie(
        cookie_name(study),
        evaluator.public_id,
        max_age=COOKIE_DAYS * 86400,
        httponly=True,
        samesite="Lax",
        path="/j/",
    )
