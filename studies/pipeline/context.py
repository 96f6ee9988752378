"""Define a stage of the preparation, and the context that its functions receive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from django.db.models import F

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.work.queue import Claim

Plan = list[tuple[list[Any], int]]  # (items, units of progress) a batch
Chapter = Literal["prompts", "pictures"]  # of the study's page


@dataclass(frozen=True)
class StageDefinition:
    """A stage: its name and title, its chapter on the study's page, the queue it needs, and its two functions.

    ``plan`` cuts it into batches, when the stage before it is done; ``run`` processes one batch, and may be run again.
    """

    name: str
    title: str
    chapter: Chapter
    queue: str
    plan: Callable[[Study, StudyConfiguration], Plan]
    run: Callable[[Context], None]


@dataclass
class Context:
    """The study, its frozen configuration, and the claimed batch, for a stage's ``run``."""

    study: Study
    configuration: StudyConfiguration
    claim: Claim[Batch]

    @property
    def batch(self) -> Batch:
        """Return the claimed batch."""
        return self.claim.item

    @property
    def items(self) -> list[Any]:
        """Return what the plan put into this batch."""
        items: list[Any] = self.batch.items
        return items

    def progress(self, done: int, total: int) -> None:
        """Store the share of the batch that is done, at most twice a second. Raises ``LeaseLost``."""
        self.claim.progress(done, total)

    def confirm(self) -> None:
        """Renew the lease, in the transaction that stores what long work made. Raises ``LeaseLost``."""
        self.claim.confirm()

    def count_evaluations(self, evaluations: int) -> None:
        """Add network evaluations to the stage's count."""
        Stage.objects.filter(pk=self.batch.stage_id).update(evaluations=F("evaluations") + evaluations)


def whole(units: int = 1) -> Plan:
    """Return a plan of one batch."""
    return [([], units)]


def cut(items: list[Any], size: int) -> Plan:
    """Return a plan of batches of at most ``size`` items, one unit of progress each."""
    return [(part, len(part)) for start in range(0, len(items), size) if (part := items[start : start + size])]
