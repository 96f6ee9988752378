"""People who rate: written as rows, or through the application's own door."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from evenhand.studies.models import Booklet, Evaluator, Rating, Study, Trial
from evenhand.studies.rating import chain
from evenhand.studies.rating.answers import Answer, store_answer

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def record_rating(
    *,
    evaluator: Evaluator,
    trial_id: uuid.UUID,
    choice: int,
    key: uuid.UUID,
    elapsed_ms: int | None = None,
    corrects: uuid.UUID | None = None,
    viewport: dict[str, Any] | None = None,
) -> Rating:
    """Store an answer as the page's POST does."""
    return store_answer(evaluator, Answer(trial_id, choice, key, elapsed_ms, corrects, viewport or {})).rating


def invite(study: Study, note: str, **values: Any) -> Evaluator:
    """An evaluator with the next free booklet."""
    assert study.current_version is not None
    evaluator = Evaluator.objects.create(study=study, version=study.current_version, note=note, **values)
    booklet = Booklet.objects.filter(study=study, evaluator=None).order_by("number").first()
    assert booklet is not None
    Booklet.objects.filter(pk=booklet.pk).update(evaluator=evaluator)
    return evaluator


def rate(trial: Trial, preference: int, **values: Any) -> Rating:
    """An answer that means ``preference`` towards the candidate, on whichever side it stands."""
    choice = -preference if trial.candidate_on_left else preference
    given = {"key": uuid.uuid4(), "elapsed_ms": 4000, "version": trial.booklet.study.current_version} | values
    rating = Rating(trial=trial, evaluator=trial.booklet.evaluator, choice=choice, rated_at=timezone.now(), **given)
    chain.link(rating, chain.end_and_skip(rating.evaluator, trial)[0])
    rating.save()
    return rating


def rate_booklet(evaluator: Evaluator, preference: Callable[[Trial], int], **values: Any) -> list[Rating]:
    """Every main trial of an evaluator's booklet, answered by a rule."""
    trials = Trial.objects.filter(booklet__evaluator=evaluator).select_related("pair__comparison", "booklet__study")
    return [rate(trial, preference(trial), **values) for trial in trials]


def always(preference: int) -> Callable[[Trial], int]:
    return lambda trial: preference


def queries_of(work: Callable[[], object]) -> int:
    """How many database queries some work takes."""
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)
