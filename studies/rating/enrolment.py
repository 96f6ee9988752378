"""How an evaluator comes into a study and gets a booklet."""

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
    """A study that takes nobody (any more); the message says why."""


def enrol(
    study: Study,
    *,
    simulated: bool = False,
    external_ids: dict[str, str] | None = None,
    external_key: str | None = None,
    note: str = "",
) -> Evaluator:
    """A new evaluator under the study's current version, or the one who holds ``external_key`` already."""
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
    """Write down the consent and claim a booklet; again, it finds both. ``EnrolmentError`` if the study is full.

    language: the one that the consent text was shown in; the hash that is kept is of the text as it was shown.
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
    """The evaluator's booklet: the lowest free one, taken by a conditional update whose count is checked.

    Booklets are numbered from 0, and only those below the quota are given out, so no rush of people exceeds it. When
    all of them are given out, what others left behind is; then the study is full.
    """
    study = evaluator.study
    quota = configuration_of(study).quota
    while True:
        held = Booklet.objects.filter(evaluator=evaluator).first()
        if held is not None:
            return held
        free = Booklet.objects.filter(study=study, evaluator=None, number__lt=quota).order_by("number")
        candidate = free.values_list("pk", flat=True).first()
        # Whoever comes second finds the booklet taken, or (the same person twice at once) holds one already.
        with contextlib.suppress(IntegrityError, reassignment.RaceLost):
            if candidate is not None:
                with transaction.atomic():
                    Booklet.objects.filter(pk=candidate, evaluator=None).update(
                        evaluator=evaluator, claimed_at=timezone.now()
                    )
            elif not _build_more(study, quota) and reassignment.reassign(evaluator) is None:
                if Booklet.objects.filter(evaluator=evaluator).exists():
                    continue  # the same person's other request has just taken the last one
                raise EnrolmentError(
                    gettext("This study has all the participants it needs. Thank you for your interest.")
                )


def _build_more(study: Study, quota: int) -> bool:
    """Build another block, if the quota reaches beyond the booklets there are."""
    numbered = Booklet.objects.filter(study=study, remainder=False)
    built = numbered.aggregate(count=Count("pk"), block=Max("block"))
    if built["count"] >= quota:
        return False
    build_blocks(study, (0 if built["block"] is None else built["block"] + 1) + 1)
    return True
