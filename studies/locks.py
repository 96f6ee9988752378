"""A lock that a read takes, for what must not change until the reader has committed."""

from __future__ import annotations

from typing import NamedTuple

from django.db import connection

from evenhand.studies.models import Evaluator


class Held(NamedTuple):
    """What decides whether an answer may be taken."""

    study: str  # its state
    withdrawn: bool
    screened_out: bool


def shared_state(evaluator: Evaluator) -> Held:
    """The state of an evaluator and of the study, fixed until this transaction ends; many may hold it at once.

    PostgreSQL holds both rows for sharing, so that whoever changes them waits. On SQLite a transaction is immediate: it
    has the write lock from its beginning, and nobody else writes.
    """
    held = " FOR SHARE" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT study.state, person.withdrawn_at IS NOT NULL, person.screened_out_at IS NOT NULL"  # noqa: S608
            " FROM studies_evaluator person JOIN studies_study study ON study.id = person.study_id"
            f" WHERE person.id = %s{held}",
            [evaluator.pk],
        )
        return Held(*cursor.fetchone())
