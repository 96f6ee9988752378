"""Define what every kind of work item has in common, so that one queue serves all of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import Q


class WorkItems(models.QuerySet[Any]):
    """Work items, with the query for those that a worker may take."""

    def claimable(self, now: datetime) -> Self:
        """Return waiting items whose time has come, and leased ones whose lease has run out.

        The conditions are the item's own columns and not a subquery: an update that had to wait for another one checks
        those again on PostgreSQL, while a subquery would still see the item as it was before.
        """
        waiting = Q(state=WorkItem.State.WAITING) & (Q(not_before=None) | Q(not_before__lte=now))
        abandoned = Q(state=WorkItem.State.LEASED, lease_until__lt=now)
        return self.filter(waiting | abandoned)

    def unfinished(self) -> Self:
        """Return the items that wait for a worker, now or later, and those in a worker's hands."""
        return self.filter(state__in=(WorkItem.State.WAITING, WorkItem.State.LEASED))


class WorkItem(models.Model):
    """A piece of work that a worker claims with a lease. A new claim changes ``holder``: a late worker notices it."""

    class State(models.TextChoices):
        WAITING = "waiting"
        LEASED = "leased"
        DONE = "done"
        FAILED = "failed"

    queue = models.CharField(max_length=10, default="cpu")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=1, help_text="units of progress in it")
    holder = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True, help_text="when a failed attempt may be repeated")
    attempts = models.PositiveSmallIntegerField(default=0)
    vanishings = models.PositiveSmallIntegerField(default=0, help_text="of workers in the middle of it")
    errors = models.PositiveSmallIntegerField(default=0, help_text="of the work itself")
    outages = models.PositiveSmallIntegerField(default=0, help_text="of the database, the disk or a connection")
    error = models.TextField(blank=True)

    objects = WorkItems.as_manager()

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="leased") | Q(holder__isnull=False, lease_until__isnull=False),
                name="leased_%(class)s_has_holder",
            ),
            models.CheckConstraint(condition=Q(done__lte=models.F("total")), name="%(class)s_done_within_total"),
        ]
        indexes = [models.Index(fields=["queue", "state", "lease_until"], name="%(class)s_to_claim")]

    def log_ids(self) -> dict[str, int]:
        """Return by what its lines in the log are found: names and numbers of records."""
        return {type(self).__name__.lower(): self.pk}

    def after_progress(self) -> None:
        """Update the totals over several items; called after ``done`` was changed."""

    def after_failure(self, error: str, /, *, final: bool) -> None:
        """Update what the item belongs to after a failed attempt; ``final``: there will be no other attempt."""

    def cut(self) -> list[WorkItem]:
        """Return the item and unsaved others in its place, each a smallest piece; empty where it is one already."""
        return []


class WorkerSign(models.Model):
    """A worker's sign of life, written twice a minute at most; a worker that has ended leaves its last one."""

    name = models.CharField(max_length=120, unique=True, help_text="of its machine, and the number of its process")
    queues = models.CharField(max_length=40, help_text="that it works for, apart by commas")
    busy = models.BooleanField(default=False)
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["-seen_at"]

    def __str__(self) -> str:
        return self.name
