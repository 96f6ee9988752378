"""Enrol evaluators, record their consent, and give each a booklet."""

from __future__ import annotations

import contextlib

from django.conf import settings
from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.db.models import Count, Max, QuerySet
from django.utils import timezone, translation
from django.utils.translation import gettext

from evenhand.errors import InputError
from evenhand.studies.access import has_panel_id, panel_hmac
from evenhand.studies.assignment import reassignment
from evenhand.studies.assignment.booklets import build_blocks
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Booklet, Evaluator, Study
from evenhand.studies.rating.statement import statement_of

FULL_SECONDS = 2  # how long a study that was found full is taken to be so


class EnrolmentError(InputError):
    """A study that takes no evaluators, or no more of them; the message says why."""


def enrol(
    study: Study,
    *,
    simulated: bool = False,
    pilot: bool = False,
    external_ids: dict[str, str] | None = None,
    external_key: str | None = None,
    note: str = "",
) -> Evaluator:
    """Create an evaluator under the study's current version, or return the one who has ``external_key`` already."""
    if study.state in (Study.State.DRAFT, Study.State.CLOSED) or study.current_version is None:
        raise EnrolmentError(f"“{study.name}” is {study.state}: nobody can be invited")
    values = {
        "study": study,
        "version": study.current_version,
        "simulated": simulated,
        "pilot": pilot,
        "external_ids": external_ids or {},
        "note": note,
    }
    if external_key is None:
        return Evaluator.objects.create(**values)
    known = evaluator_of_panel(study, external_key)
    if known is not None:
        return known
    try:
        with transaction.atomic():
            return Evaluator.objects.create(
                **values, external_key=external_key, external_hmac=panel_hmac(study, external_key)
            )
    except IntegrityError:  # one_evaluator_per_external_key: the same person came twice at once
        known = evaluator_of_panel(study, external_key)
        if known is None:
            raise
        return known


def evaluator_of_panel(study: Study, external_key: str) -> Evaluator | None:
    """Return the evaluator with a panel's id, also where the id was deleted and its keyed hash alone is left."""
    return Evaluator.objects.filter(has_panel_id(study, external_key)).first()


def consent(evaluator: Evaluator, *, language: str = "", age_confirmed: bool = False) -> Booklet:
    """Record the consent and claim a booklet; a repeated call changes neither. ``EnrolmentError`` if the study is full.

    language: that of the consent as it was shown; the recorded hash is of its sentences in this language.
    """
    booklet = claim_booklet(evaluator)
    with translation.override(language or settings.LANGUAGE_CODE):
        statement = statement_of(evaluator, configuration_of(evaluator.study))
    Evaluator.objects.filter(pk=evaluator.pk, consented_at=None).update(
        consented_at=timezone.now(),
        version=evaluator.study.current_version,
        consent_text_sha256=statement.sha256,
        language=language,
        age_confirmed=age_confirmed,
    )
    evaluator.refresh_from_db(fields=["consented_at", "version", "consent_text_sha256", "language", "age_confirmed"])
    return booklet


def claim_booklet(evaluator: Evaluator) -> Booklet:
    """Return the evaluator's booklet, or claim the lowest free one by a conditional update.

    Booklets are numbered from 0, and only those below the quota are given out, so that simultaneous claims cannot
    exceed it. When all of them are given out, trials that others left behind are; then the study is full. Simulated
    evaluators have booklets of their own, as many as the quota, and take no person's place; nor do people of the pilot,
    who have as many as they are.
    """
    study = evaluator.study
    quota = quota_for(evaluator)
    while True:
        booklet = Booklet.objects.filter(evaluator=evaluator).first()
        if booklet is not None:
            return booklet
        lowest = (
            free_booklets(study, quota, evaluator.simulated, pilot=evaluator.pilot).values_list("pk", flat=True).first()
        )
        # Of two claims of one booklet the second updates nothing. Of two by one evaluator the second violates the
        # uniqueness of booklet.evaluator. Either tries again.
        with contextlib.suppress(IntegrityError, reassignment.RaceLost):
            if lowest is not None:
                with transaction.atomic():
                    Booklet.objects.filter(pk=lowest, evaluator=None).update(
                        evaluator=evaluator, claimed_at=timezone.now()
                    )
            elif not _build_more(evaluator, quota) and reassignment.reassign(evaluator) is None:
                if Booklet.objects.filter(evaluator=evaluator).exists():
                    continue  # another request of the same evaluator has just claimed the last one
                raise EnrolmentError(
                    gettext("This study has all the participants it needs. Thank you for your interest.")
                )


def quota_for(evaluator: Evaluator) -> int:
    """Return how many booklets there are for such evaluators."""
    if evaluator.pilot:
        return Evaluator.objects.filter(study=evaluator.study_id, pilot=True).count()
    return configuration_of(evaluator.study).quota


def free_booklets(study: Study, quota: int, simulated: bool = False, *, pilot: bool = False) -> QuerySet[Booklet]:
    """Return the booklets that may be claimed, the lowest first."""
    free = Booklet.objects.filter(study=study, simulated=simulated, pilot=pilot, evaluator=None, number__lt=quota)
    return free.order_by("number")


def is_full(study: Study) -> bool:
    """Whether no person could claim a booklet now; reads only, so that a claim may still find it otherwise.

    In a rush the answer “full” is kept for a moment.
    """
    quota = configuration_of(study).quota
    if free_booklets(study, quota).exists() or _numbered(study).count() < quota:
        return False
    key = f"full-{study.pk}"
    full: bool = cache.get(key, False)
    if not full and not reassignment.trials_left_behind(study).exists():
        full = True
        cache.set(key, True, FULL_SECONDS)
    return full


def booklets_of_kind(evaluator: Evaluator) -> QuerySet[Booklet]:
    """Return all numbered booklets for such evaluators, free ones and others; below the quota more are built."""
    return _numbered(evaluator.study, simulated=evaluator.simulated, pilot=evaluator.pilot)


def _numbered(study: Study, *, simulated: bool = False, pilot: bool = False) -> QuerySet[Booklet]:
    return Booklet.objects.filter(study=study, simulated=simulated, pilot=pilot, remainder=False)


def _build_more(evaluator: Evaluator, quota: int) -> bool:
    """Build another block if the quota exceeds the number of booklets; false where it does not."""
    totals = booklets_of_kind(evaluator).aggregate(count=Count("pk"), block=Max("block"))
    if totals["count"] >= quota:
        return False
    blocks = (0 if totals["block"] is None else totals["block"] + 1) + 1
    build_blocks(evaluator.study, blocks, simulated=evaluator.simulated, pilot=evaluator.pilot)
    return True
