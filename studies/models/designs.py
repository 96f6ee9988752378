"""Define studies with their versions, comparisons, pairs, stages, batches and audit events."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from evenhand.studies.models.images import Arm, Image, Recipe
from evenhand.studies.models.prompts import Prompt, PromptSet, PromptSubset
from evenhand.studies.models.work import WorkItem, WorkItems

# What may be set aside of a stage before it stops: two items, or one in a hundred.
SET_ASIDE_AT_LEAST, SET_ASIDE_OF = 2, 100


def new_nonce() -> str:
    """Return a random nonce; changing a row's nonce revokes the links that were made with it."""
    return secrets.token_hex(16)


class Study(models.Model):
    """A preference study; ``draft → preparing → ready → collecting ⇄ paused → closed``."""

    class State(models.TextChoices):
        DRAFT = "draft"
        PREPARING = "preparing"
        READY = "ready"
        COLLECTING = "collecting"
        PAUSED = "paused"
        CLOSED = "closed"

    name = models.CharField(max_length=100, unique=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="studies")
    state = models.CharField(max_length=12, choices=State, default=State.DRAFT)
    prompt_set = models.ForeignKey(PromptSet, on_delete=models.PROTECT, related_name="studies")
    recipe = models.ForeignKey(Recipe, on_delete=models.PROTECT, null=True, blank=True, related_name="studies")
    subset = models.OneToOneField(PromptSubset, on_delete=models.PROTECT, null=True, blank=True, related_name="study")
    current_version = models.ForeignKey(
        "StudyVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    link_nonce = models.CharField(max_length=32, default=new_nonce, help_text="of the link that lets anybody enrol")
    visits_without_id = models.PositiveIntegerField(default=0, help_text="that came from a panel without a person's id")
    last_visit_without_id = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True, help_text="when it left the list of studies")
    keeps_out = models.ManyToManyField(
        "self", symmetrical=False, blank=True, related_name="+", help_text="earlier studies whose people are not let in"
    )
    ratings_root = models.CharField(max_length=64, blank=True, help_text="root of all rating chains, made by closing")
    created_at = models.DateTimeField(auto_now_add=True)

    previewed = False  # true on the object through which an admin walks the evaluator's pages

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "studies"
        constraints = [
            models.CheckConstraint(
                condition=Q(state="draft") | Q(current_version__isnull=False), name="prepared_study_has_version"
            )
        ]

    def __str__(self) -> str:
        return self.name


class StudyVersion(models.Model):
    """A frozen configuration; every rating names the version it was given under."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    configuration = models.TextField(help_text="canonical JSON")
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="one_version_per_number")]
        ordering = ["study", "number"]

    def __str__(self) -> str:
        return f"{self.study} v{self.number}"


class Comparison(models.Model):
    """Two arms, compared over the final subset's prompts.

    Results say how often the second, ``candidate``, is preferred to the first, ``baseline``. Where the plan compares
    other arms than its baseline with its candidates, these are no more than names of the two places.
    """

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="comparisons")
    position = models.PositiveSmallIntegerField()
    baseline = models.ForeignKey(Arm, on_delete=models.PROTECT, related_name="+")
    candidate = models.ForeignKey(Arm, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "baseline", "candidate"], name="compared_once_per_study"),
            models.UniqueConstraint(fields=["study", "position"], name="one_comparison_per_position"),
            models.CheckConstraint(condition=~Q(baseline=F("candidate")), name="compared_arms_differ"),
        ]
        ordering = ["study", "position"]

    def __str__(self) -> str:
        return f"{self.candidate} vs {self.baseline}"


class ArmRecipe(models.Model):
    """The recipe that draws an arm of a study, where it is not the study's own."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="arm_recipes")
    arm = models.ForeignKey(Arm, on_delete=models.PROTECT, related_name="+")
    recipe = models.ForeignKey(Recipe, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "arm"], name="one_recipe_per_arm_of_study")]

    def __str__(self) -> str:
        return f"{self.arm} by {self.recipe}"


class Pair(models.Model):
    """The two images of one prompt in one comparison, made from the same seed."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="pairs")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="+")
    stratum = models.CharField(max_length=20)
    baseline_image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    candidate_image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    largest_difference = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="of corresponding levels, 0 to 255; none: not compared, or of two sizes"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "prompt"], name="one_pair_per_prompt"),
            models.CheckConstraint(condition=~Q(baseline_image=F("candidate_image")), name="pair_has_two_images"),
        ]
        ordering = ["comparison", "prompt"]

    def __str__(self) -> str:
        return f"pair {self.pk} of {self.comparison_id}"


class CheckPair(models.Model):
    """Two images of which one is plainly better: for the example, for practice and for attention checks.

    The better one is the baseline's image of a prompt outside the final subset; the worse one is the same image
    damaged, or an image of another prompt.
    """

    class Use(models.TextChoices):
        EXAMPLE = "example"
        PRACTICE = "practice"
        ATTENTION = "attention"

    class Fault(models.TextChoices):
        DAMAGED = "damaged"
        OTHER_PROMPT = "other_prompt"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="check_pairs")
    number = models.PositiveSmallIntegerField()
    use = models.CharField(max_length=10, choices=Use)
    fault = models.CharField(max_length=12, choices=Fault)
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="+")
    better = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    worse = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    passed_over = models.JSONField(default=list, blank=True, help_text="prompts that the study admin has exchanged")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "number"], name="one_check_pair_per_number"),
            models.CheckConstraint(condition=~Q(better=F("worse")), name="check_pair_has_two_images"),
        ]
        ordering = ["study", "number"]

    def __str__(self) -> str:
        return f"{self.use} {self.number} of {self.study_id}"


class Stage(models.Model):
    """One step of the preparation, with its progress. ``evaluations`` counts the network evaluations made for it."""

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="stages")
    name = models.CharField(max_length=20)
    position = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    evaluations = models.PositiveBigIntegerField(default=0)
    error = models.TextField(blank=True)
    marks = models.JSONField(default=list, blank=True, help_text="[seconds since 1970, done] of the last minutes")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "name"], name="one_stage_per_name"),
            models.UniqueConstraint(fields=["study", "position"], name="one_stage_per_position"),
            models.CheckConstraint(condition=Q(done__lte=F("total")), name="stage_done_within_total"),
        ]
        ordering = ["study", "position"]

    def __str__(self) -> str:
        return f"{self.name} of {self.study}"


class Batches(WorkItems):
    """Batches, with the query for those that a worker may take."""

    def claimable(self, now: datetime) -> Self:
        """Return the claimable ones of running stages, in studies that are being prepared."""
        return super().claimable(now).filter(stage__in=self._running())

    def unfinished(self) -> Self:
        """Return the unfinished ones of running stages, in studies that are being prepared."""
        return super().unfinished().filter(stage__in=self._running())

    @staticmethod
    def _running() -> QuerySet[Any, Any]:
        return Stage.objects.filter(state=Stage.State.RUNNING, study__state=Study.State.PREPARING).values("pk")


class Batch(WorkItem):
    """A piece of a stage's work that one worker takes at a time."""

    stage = models.ForeignKey(Stage, on_delete=models.CASCADE, related_name="batches")
    number = models.PositiveIntegerField()
    items = models.JSONField(default=list)

    objects = Batches.as_manager()  # type: ignore[misc]  # the abstract model's manager, narrowed

    class Meta(WorkItem.Meta):
        constraints = [
            *WorkItem.Meta.constraints,
            models.UniqueConstraint(fields=["stage", "number"], name="one_batch_per_number"),
        ]
        ordering = ["stage", "number"]
        verbose_name_plural = "batches"

    def __str__(self) -> str:
        return f"batch {self.number} of stage {self.stage_id}"

    def log_ids(self) -> dict[str, int]:
        """Name the stage and the study, too."""
        return super().log_ids() | {"stage": self.stage_id, "study": self.stage.study_id}

    def after_progress(self) -> None:
        """Store the stage's progress: the sum over its batches.

        This is skipped where another transaction holds the stage's row, so that workers do not wait for each other; a
        later report, or the stage's end, stores the sum.
        """
        total = Batch.objects.filter(stage=OuterRef("pk")).order_by().values("stage").annotate(n=Sum("done"))
        with transaction.atomic(savepoint=False):
            free = Stage.objects.order_by().select_for_update(skip_locked=True, no_key=True).filter(pk=self.stage_id)
            Stage.objects.filter(pk__in=free.values("pk")).update(done=Coalesce(Subquery(total.values("n")), 0))

    def after_failure(self, error: str, /, *, final: bool) -> None:
        """Store the error on the stage. A batch that is given up is set aside while the rest goes on.

        The stage fails where the batch is all of it, and where so much was set aside that the cause is no single item.
        """
        running = Stage.objects.filter(pk=self.stage_id, state=Stage.State.RUNNING)
        running.update(error=error)
        if final:
            aside = Batch.objects.filter(stage=self.stage_id, state=WorkItem.State.FAILED).count()
            most = 0 if not self.items else max(SET_ASIDE_AT_LEAST, self.stage.total // SET_ASIDE_OF)
            if aside > most:
                running.update(state=Stage.State.FAILED)

    def cut(self) -> list[WorkItem]:
        """Return batches of one item each; what is no item but says how to make them stands before each."""
        head = self.items[:1] if self.items and isinstance(self.items[0], dict) else []
        items = self.items[len(head) :]
        if len(items) < 2:
            return []
        Stage.objects.select_for_update().get(pk=self.stage_id)  # two workers that cut at once give different numbers
        number = Batch.objects.filter(stage=self.stage_id).aggregate(last=Max("number"))["last"]
        values = {"stage_id": self.stage_id, "queue": self.queue}
        pieces: list[Batch] = [self, *(Batch(number=number + i, **values) for i in range(1, len(items)))]
        for piece, item in zip(pieces, items, strict=True):
            piece.items, piece.total = [*head, item], 1
        return [*pieces]


class AuditEvent(models.Model):
    """An entry of a study's audit log, or of an account's: who did what, and when."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    study = models.ForeignKey(
        Study, on_delete=models.CASCADE, null=True, blank=True, related_name="events", help_text="none: of the account"
    )
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True)
    action = models.CharField(max_length=50)
    detail = models.JSONField(default=dict)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.action} at {self.at:%Y-%m-%d %H:%M}"


class AlarmNotice(models.Model):
    """An alarm of a study that was to be sent to somebody: once from its beginning to its end."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="alarm_notices")
    key = models.CharField(max_length=40, help_text="which alarm it is")
    text = models.TextField()
    raised_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    over_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "key"], condition=Q(over_at=None), name="one_alarm_at_a_time"),
        ]
        ordering = ["-raised_at"]

    def __str__(self) -> str:
        return f"{self.key} of {self.study_id}"
