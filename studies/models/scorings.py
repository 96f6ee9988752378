"""Define scorings: metrics computed for arms over prompts of a study, in parts that workers take."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, Max, OuterRef

from evenhand.studies.models.designs import Study
from evenhand.studies.models.images import Arm
from evenhand.studies.models.work import WorkItem, WorkItems


class Scoring(models.Model):
    """A request to score a study's arms, and such as are added for it alone: a sweep of strengths, for example."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="scorings")
    plan = models.JSONField(help_text="what is scored, and by which metrics")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    evaluations = models.PositiveBigIntegerField(default=0, help_text="network evaluations made for missing pictures")

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"scoring {self.pk} of {self.study_id}"


class ScoringParts(WorkItems):
    """Parts, with the query for those that a worker may take."""

    def claimable(self, now: datetime) -> Self:
        """Return the claimable parts whose scoring has no open part of an earlier phase. A done part stays done."""
        earlier = ScoringPart.objects.filter(scoring=OuterRef("scoring"), phase__lt=OuterRef("phase"))
        return super().claimable(now).filter(~Exists(earlier.exclude(state=WorkItem.State.DONE)))


class ScoringPart(WorkItem):
    """A piece of a scoring's work: pictures and their scores, a reference's features, or an arm's distances."""

    class Phase(models.IntegerChoices):
        PICTURES = 0
        REFERENCE = 1
        DISTANCES = 2

    scoring = models.ForeignKey(Scoring, on_delete=models.CASCADE, related_name="parts")
    phase = models.PositiveSmallIntegerField(choices=Phase)
    number = models.PositiveIntegerField()
    items = models.JSONField(default=list)

    objects = ScoringParts.as_manager()  # type: ignore[misc]  # the abstract model's manager, narrowed

    class Meta(WorkItem.Meta):
        constraints = [
            *WorkItem.Meta.constraints,
            models.UniqueConstraint(fields=["scoring", "phase", "number"], name="one_part_per_number"),
        ]
        ordering = ["scoring", "phase", "number"]

    def log_ids(self) -> dict[str, int]:
        """Name the scoring and the study, too."""
        return super().log_ids() | {"scoring": self.scoring_id, "study": self.scoring.study_id}

    def cut(self) -> list[WorkItem]:
        """Return parts of one prompt each, where the part makes pictures."""
        if self.phase != self.Phase.PICTURES or len(self.items) < 2:
            return []
        Scoring.objects.select_for_update().get(pk=self.scoring_id)
        parts = ScoringPart.objects.filter(scoring=self.scoring_id, phase=self.phase)
        number = parts.aggregate(last=Max("number"))["last"]
        values = {"scoring_id": self.scoring_id, "phase": self.phase, "queue": self.queue}
        pieces: list[ScoringPart] = [ScoringPart(number=number + i, **values) for i in range(len(self.items))]
        pieces[0] = self
        units = self.total // len(self.items)
        for piece, item in zip(pieces, self.items, strict=True):
            piece.items, piece.total = [item], units
        return [*pieces]

    def __str__(self) -> str:
        return f"part {self.phase}.{self.number} of scoring {self.scoring_id}"


class ArmScore(models.Model):
    """A metric of all pictures of an arm together, such as a Fréchet distance to reference pictures."""

    scoring = models.ForeignKey(Scoring, on_delete=models.CASCADE, related_name="scores")
    arm = models.ForeignKey(Arm, on_delete=models.PROTECT, related_name="+")
    metric = models.CharField(max_length=255, help_text="name and feature space, e.g. frechet:inception")
    value = models.FloatField()
    low = models.FloatField(null=True, blank=True)
    high = models.FloatField(null=True, blank=True)
    n = models.PositiveIntegerField(help_text="pictures that were used")
    detail = models.JSONField(default=dict, help_text="network, reference, settings, and what was odd")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scoring", "arm", "metric"], name="one_score_per_arm_and_metric"),
            models.CheckConstraint(
                condition=models.Q(low=None) | models.Q(low__lte=F("high")), name="arm_score_interval_in_order"
            ),
        ]
        ordering = ["metric", "arm"]

    def __str__(self) -> str:
        return f"{self.metric} = {self.value:.4f}"
