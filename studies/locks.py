"""A lock that a read takes, for what must not change until the reader has committed."""

from __future__ import annotations

from django.db import connection

from studies.models import Study


def shared_state(study: Study) -> str:
    """The study's state, which cannot change before this transaction ends; many may hold it at once.

    PostgreSQL holds the row for sharing, so that a change of state waits. On SQLite a transaction is immediate: it has
    the write lock from its beginning, and nobody else writes.
    """
    held = " FOR SHARE" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT state FROM studies_study WHERE id = %s{held}", [study.pk])  # noqa: S608
        state: str = cursor.fetchone()[0]
    return state
