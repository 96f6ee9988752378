"""Link every evaluator's ratings into a hash chain, and compute the root that closes a study.

A row's hash covers its content and its predecessor's hash. So no row can be changed, removed or inserted afterwards
without a mismatch in the later hashes and in the root. Whether a row was superseded follows from the rows that correct
it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC

from django.db import connection

from evenhand.studies.models import Evaluator, Rating, Study, Trial

LATER_FIELDS = ("both_bad", "reasons", "remark")  # younger than the first chains: left out where they are empty


@dataclass(frozen=True)
class Fault:
    """A problem of a chain, and the place where it was found."""

    evaluator: str
    sequence: int
    problem: str

    def __str__(self) -> str:
        return f"evaluator {self.evaluator}, rating {self.sequence}: {self.problem}"


def row_text(rating: Rating) -> str:
    """Return what a row's hash covers: a rating's content and its predecessor's hash, as canonical JSON."""
    content = {
        "evaluator": rating.evaluator.public_id,
        "sequence": rating.sequence,
        "trial": str(rating.trial.public_id),
        "version": rating.version.sha256,
        "choice": rating.choice,
        "key": str(rating.key),
        "corrects": str(rating.corrects.key) if rating.corrects else None,
        "counted": rating.counted,
        "elapsed_ms": rating.elapsed_ms,
        "viewport": rating.viewport,
        "rated_at": rating.rated_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "previous": rating.previous_sha256,
        **{name: value for name in LATER_FIELDS if (value := getattr(rating, name))},
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def row_sha256(rating: Rating) -> str:
    """Return the SHA-256 (64 hex digits) of ``row_text``."""
    return hashlib.sha256(row_text(rating).encode()).hexdigest()


def end_and_skip(evaluator: Evaluator, trial: Trial) -> tuple[tuple[int, str], bool]:
    """Return number and hash of the evaluator's last rating, and whether a trial was skipped, by one query.

    Without a rating these are 0 and the empty string.
    """
    with connection.cursor() as cursor:  # at every answer; Django would compile for longer than this runs
        cursor.execute(
            "SELECT last.sequence, last.sha256, EXISTS (SELECT 1 FROM studies_skip WHERE trial_id = %s)"
            " FROM (SELECT 1 AS one) row LEFT JOIN (SELECT sequence, sha256 FROM studies_rating"
            " WHERE evaluator_id = %s ORDER BY sequence DESC LIMIT 1) last ON 1 = 1",
            [trial.pk, evaluator.pk],
        )
        sequence, sha256, skipped = cursor.fetchone()
    return (sequence or 0, sha256 or ""), bool(skipped)


def link(rating: Rating, end: tuple[int, str]) -> Rating:
    """Give an unsaved rating its place after ``end``.

    Of two ratings that are linked to the same end at once, the second violates the uniqueness of places and is linked
    again.
    """
    rating.sequence, rating.previous_sha256 = end[0] + 1, end[1]
    rating.sha256 = row_sha256(rating)
    return rating


def faults(study: Study) -> Iterator[Fault]:
    """Find what does not fit in a study's chains, in the order of rows; nothing where all is as it was written."""
    rows = (
        Rating.objects.filter(evaluator__study=study)
        .select_related("evaluator", "trial", "version", "corrects")
        .order_by("evaluator", "sequence")
    )
    evaluator, predecessor = 0, Rating()
    for rating in rows.iterator(chunk_size=2000):
        first = rating.evaluator_id != evaluator
        sequence = 1 if first else predecessor.sequence + 1
        previous = "" if first else predecessor.sha256
        name = rating.evaluator.public_id
        if rating.sequence != sequence:
            yield Fault(name, rating.sequence, f"rating {sequence} is missing")
        elif rating.previous_sha256 != previous:
            yield Fault(name, rating.sequence, "does not continue the one before it")
        elif rating.deleted_at is None and row_sha256(rating) != rating.sha256:
            yield Fault(name, rating.sequence, "its content is not what was written")
        evaluator, predecessor = rating.evaluator_id, rating


def closing_fault(study: Study) -> str:
    """Say what is wrong with the root that was recorded when a study was closed; nothing where it holds."""
    if study.ratings_root:
        return "" if study.ratings_root == root(study) else "its root is not that of closing"
    return "it is closed without the root of its ratings" if study.state == Study.State.CLOSED else ""


def root(study: Study) -> str:
    """Return the SHA-256 over the last hash of every evaluator's chain, in the order of their public ids.

    The chains of the pilot are not part of it.
    """
    digest = hashlib.sha256()
    evaluators = (
        Evaluator.objects.filter(study=study, pilot=False, ratings__isnull=False).distinct().order_by("public_id")
    )
    ratings = Rating.objects.filter(evaluator__study=study).order_by("evaluator", "sequence")
    ends = dict(ratings.values_list("evaluator", "sha256"))  # the last rating of each evaluator overwrites the others
    for pk, public_id in evaluators.values_list("pk", "public_id"):
        digest.update(f"{public_id} {ends[pk]}\n".encode())
    return digest.hexdigest()
