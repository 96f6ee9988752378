"""What a batch is run with."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from django.db.models import F

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Batch, Stage, Study
from evenhand.studies.work.queue import report_progress

Plan = list[tuple[list[Any], int]]  # (items, units of progress) a batch


@dataclass
class Context:
    """The study, its frozen configuration, and the claimed batch."""

    study: Study
    configuration: StudyConfiguration
    batch: Batch
    _reported: float = field(default=0.0)

    @property
    def items(self) -> list[Any]:
        """What the plan put into this batch."""
        items: list[Any] = self.batch.items
        return items

    def progress(self, done: int, total: int) -> None:
        """Report progress within the batch, at most twice a second."""
        now = time.monotonic()
        if now - self._reported >= 0.5:
            self._reported = now
            report_progress(self.batch, self.batch.size * done // max(1, total))

    def count_evaluations(self, evaluations: int) -> None:
        """Add network evaluations that were really made to the stage's account."""
        Stage.objects.filter(pk=self.batch.stage_id).update(evaluations=F("evaluations") + evaluations)


def whole(units: int = 1) -> Plan:
    """A plan of one batch."""
    return [([], units)]


def cut(items: list[Any], size: int) -> Plan:
    """A plan of batches of at most ``size`` items, one unit of progress each."""
    return [(part, len(part)) for start in range(0, len(items), size) if (part := items[start : start + size])]
