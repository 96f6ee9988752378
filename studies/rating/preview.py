"""Let a study admin walk the evaluator's pages of a ready study: the pages are the real ones, and nothing is stored.

A request makes the person, the first booklet and what was answered so far inside a transaction, runs the page as for
anybody, reads what has come of it, and rolls everything back. From request to request the walk lies in the admin's
session. The address is no credential: it opens for whoever is logged in and may read the study.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils import timezone

from evenhand.studies.access import Right, study_of
from evenhand.studies.assignment.booklets import write_first
from evenhand.studies.models import Evaluator, Rating, Skip, Study, Trial

PREFIX = "preview."  # a public id never has a full stop
MOMENTS = (
    "consented_at", "introduced_at", "comprehension_passed_at", "screened_out_at", "finished_at", "withdrawn_at",
    "deleted_at",
)  # fmt: skip
FIELDS = (
    "consent_text_sha256", "age_confirmed", "language", "comprehension_tries", "comprehension_wrong", "breaks_taken",
    "told_criterion",
)  # fmt: skip
ANSWER = ("choice", "both_bad", "reasons", "remark", "superseded", "counted", "elapsed_ms", "sequence")


class PreviewOver(Exception):
    """The study is not ready any more, so that there is nothing to preview; ``study`` is its number."""

    def __init__(self, study: int) -> None:
        super().__init__(study)
        self.study = study


def is_preview(token: str) -> bool:
    """Whether a token is that of a preview."""
    return token.startswith(PREFIX)


def preview_link(study: Study) -> str:
    """Return the path of a study's preview."""
    return reverse("rating:home", args=[f"{PREFIX}{study.pk}"])


def begin_anew(request: HttpRequest, study: Study) -> None:
    """Forget what was answered in this admin's preview of a study."""
    request.session.pop(_key(study.pk), None)


@contextmanager
def walking(request: HttpRequest, token: str) -> Iterator[Evaluator]:
    """Yield the person of a preview, who is there while a page is made; after a POST the walk is kept in the session.

    Raises ``Http404`` for whoever may not read the study, and ``PreviewOver`` for a study that is not ready.
    """
    number = token.removeprefix(PREFIX)
    if not request.user.is_authenticated or not number.isascii() or not number.isdigit() or len(number) > 12:
        raise Http404("no such link")
    study = study_of(request.user, int(number), Right.READ)
    with transaction.atomic():
        if not Study.objects.filter(pk=study.pk, state=Study.State.READY).update(state=Study.State.COLLECTING):
            raise PreviewOver(study.pk)
        study = Study.objects.select_related("current_version").get(pk=study.pk)
        study.previewed = True
        evaluator = _make(study, request.session.get(_key(study.pk), {}))
        vars(request)["preview"] = study
        yield evaluator
        walked = _read(evaluator.pk) if request.method == "POST" else None
        transaction.set_rollback(True)
    if walked is not None:
        request.session[_key(study.pk)] = walked


def _key(study: int) -> str:
    return f"preview-{study}"


def _make(study: Study, walk: Mapping[str, Any]) -> Evaluator:
    """Make the person of a walk, their booklet and their answers; all of it is rolled back."""
    now = timezone.now()
    person: Mapping[str, Any] = walk.get("person", {})
    assert study.current_version is not None  # a ready study has one
    evaluator = Evaluator.objects.create(
        study=study,
        version=study.current_version,
        public_id=f"{PREFIX}{study.pk}"[:16],
        comprehension_key=walk.get("comprehension_key"),
        **{name: person[name] for name in FIELDS if name in person},
        **{name: now for name in MOMENTS if person.get(name)},
    )
    booklet = write_first(study)
    if walk.get("has_booklet"):
        booklet.evaluator, booklet.claimed_at = evaluator, now
        booklet.save(update_fields=["evaluator", "claimed_at"])
    trials = {trial.position: trial for trial in booklet.trials.all()}
    for trial in trials.values():  # so that a page of an earlier request names the same ones
        trial.public_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{study.pk} {trial.position}")
    Trial.objects.bulk_update(trials.values(), ["public_id"])
    _answer(evaluator, trials, walk)
    return evaluator


def _answer(evaluator: Evaluator, trials: Mapping[int, Trial], walk: Mapping[str, Any]) -> None:
    given: dict[str, Rating] = {}
    for row in walk.get("ratings", ()):
        trial = trials[row["position"]]
        given[row["key"]] = Rating.objects.create(
            trial=trial,
            evaluator=evaluator,
            version_id=evaluator.version_id,
            key=row["key"],
            corrects=given.get(row["corrects"]),
            slot=trial.slot if row["fills"] else None,
            rated_at=timezone.now(),
            sha256="preview",
            **{name: row[name] for name in ANSWER},
        )
    skips = walk.get("skips", ())
    Skip.objects.bulk_create(
        Skip(trial=trials[row["position"]], reason=row["reason"], note=row["note"]) for row in skips
    )


def _read(pk: int) -> dict[str, Any]:
    """Read what a walk has come to, as JSON."""
    evaluator = Evaluator.objects.get(pk=pk)
    ratings = Rating.objects.filter(evaluator=evaluator).select_related("trial", "corrects").order_by("sequence")
    skips = Skip.objects.filter(trial__booklet__evaluator=evaluator).select_related("trial")
    return {
        "person": {name: getattr(evaluator, name) for name in FIELDS}
        | {name: getattr(evaluator, name) is not None for name in MOMENTS},
        "comprehension_key": evaluator.comprehension_key and str(evaluator.comprehension_key),
        "has_booklet": hasattr(evaluator, "booklet"),
        "ratings": [
            {name: getattr(row, name) for name in ANSWER}
            | {
                "position": row.trial.position,
                "key": str(row.key),
                "corrects": str(row.corrects.key) if row.corrects else "",
                "fills": row.slot is not None,
            }
            for row in ratings
            if row.deleted_at is None
        ],
        "skips": [{"position": row.trial.position, "reason": row.reason, "note": row.note} for row in skips],
    }
