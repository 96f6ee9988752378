"""Enrol evaluators, record their consent, and give each a booklet."""

from __future__ import annotations

import contextlib
import hashlib

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, Max
from django.utils import timezone, translation
from django.utils.translation import gettext

from evenhand.errors import InputError
from evenhand.studies.assignment import reassignment
from evenhand.studies.assignment.booklets import build_blocks
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Booklet, Evaluator, Study


class EnrolmentError(InputError):
    """A study that takes no evaluators, or no more of them; the message says why."""


def enrol(
    study: Study,
    *,
    simulated: bool = False,
    external_ids: dict[str, str] | None = None,
    external_key: str | None = None,
    note: str = "",
) -> Evaluator:
    """Create an evaluator under the study's current version, or return the one who has ``external_key`` already."""
    if study.state in (Study.State.DRAFT, Study.State.CLOSED) or study.current_version is None:
        raise EnrolmentError(f"“{study.name}” is {study.state}: nobody can be invited")
    values = {
        "version": study.current_version,
        "simulated": simulated,
        "external_ids": external_ids or {},
        "note": note,
    }
    if external_key is None:
        return Evaluator.objects.create(study=study, **values)
    return Evaluator.objects.get_or_create(study=study, external_key=external_key, defaults=values)[0]


def consent(evaluator: Evaluator, *, language: str = "", age_confirmed: bool = False) -> Booklet:
    """Record the consent and claim a booklet; a repeated call changes neither. ``EnrolmentError`` if the study is full.

    language: that of the consent text as it was shown; the recorded hash is of the text in this language.
    """
    booklet = claim_booklet(evaluator)
    with translation.override(language or settings.LANGUAGE_CODE):
        text = translation.gettext(configuration_of(evaluator.study).consent)
    Evaluator.objects.filter(pk=evaluator.pk, consented_at=None).update(
        consented_at=timezone.now(),
        version=evaluator.study.current_version,
        consent_text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        language=language,
        age_confirmed=age_confirmed,
    )
    evaluator.refresh_from_db(fields=["consented_at", "version", "consent_text_sha256", "language", "age_confirmed"])
    return booklet


def claim_booklet(evaluator: Evaluator) -> Booklet:
    """Return the evaluator's booklet, or claim the lowest free one by a conditional update.

    Booklets are numbered from 0, and only those below the quota are given out, so that simultaneous claims cannot
    exceed it. When all of them are given out, trials that others left behind are; then the study is full.
    """
    study = evaluator.study
    quota = configuration_of(study).quota
    while True:
        booklet = Booklet.objects.filter(evaluator=evaluator).first()
        if booklet is not None:
            return booklet
        free = Booklet.objects.filter(study=study, evaluator=None, number__lt=quota).order_by("number")
        lowest = free.values_list("pk", flat=True).first()
        # Of two claims of one booklet the second updates nothing. Of two by one evaluator the second violates the
        # uniqueness of booklet.evaluator. Either tries again.
        with contextlib.suppress(IntegrityError, reassignment.RaceLost):
            if lowest is not None:
                with transaction.atomic():
                    Booklet.objects.filter(pk=lowest, evaluator=None).update(
                        evaluator=evaluator, claimed_at=timezone.now()
                    )
            elif not _build_more(study, quota) and reassignment.reassign(evaluator) is None:
                if Booklet.objects.filter(evaluator=evaluator).exists():
                    continue  # another request of the same evaluator has just claimed the last one
                raise EnrolmentError(
                    gettext("This study has all the participants it needs. Thank you for your interest.")
                )


def _build_more(study: Study, quota: int) -> bool:
    """Build another block if the quota exceeds the number of booklets; false where it does not."""
    numbered = Booklet.objects.filter(study=study, remainder=False)
    totals = numbered.aggregate(count=Count("pk"), block=Max("block"))
    if totals["count"] >= quota:
        return False
    build_blocks(study, (0 if totals["block"] is None else totals["block"] + 1) + 1)
    return True
