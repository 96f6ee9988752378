"""Define prompt sets, the subsets drawn from them (paper §5.3), and sampling runs."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from evenhand.studies.models.work import WorkItem


class FinishedSets(models.Manager["PromptSet"]):
    """The sets that are whole. One that is being imported or deleted has no hash, and is seen nowhere."""

    def get_queryset(self) -> models.QuerySet[PromptSet]:
        """Leave out what has no hash."""
        return super().get_queryset().exclude(sha256="")


class PromptSet(models.Model):
    """An imported prompt file; its prompts never change."""

    name = models.CharField(max_length=100, unique=True)
    source = models.CharField(max_length=255, help_text="the file it was read from")
    sha256 = models.CharField(max_length=64, help_text="of the prompts' texts in order")
    count = models.PositiveIntegerField()
    duplicates = models.PositiveIntegerField(default=0, help_text="prompts whose text occurred before")
    creator = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="prompt_sets",
        help_text="none: imported by a command, for everybody",
    )
    shared = models.BooleanField(default=False, help_text="shown to everybody, not only to those who work with it")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = FinishedSets()
    with_unfinished = models.Manager["PromptSet"]()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(count__gt=0), name="prompt_set_not_empty")]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Prompt(models.Model):
    """One prompt of a set, at its place in the file."""

    prompt_set = models.ForeignKey(PromptSet, on_delete=models.PROTECT, related_name="prompts")
    index = models.PositiveIntegerField()
    text = models.TextField()
    source_id = models.CharField(max_length=100, blank=True, help_text="the file's own id of the row, if it has one")
    seed = models.PositiveBigIntegerField(null=True, blank=True, help_text="the file's own seed, if it has one")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["prompt_set", "index"], name="one_prompt_per_index"),
            models.CheckConstraint(condition=~Q(text=""), name="prompt_not_empty"),
        ]
        ordering = ["prompt_set", "index"]

    def __str__(self) -> str:
        return f"{self.index}: {self.text[:60]}"


class PromptSubset(models.Model):
    """A study's first subset and, once scored, its strata."""

    prompt_set = models.ForeignKey(PromptSet, on_delete=models.PROTECT, related_name="subsets")
    encoder = models.CharField(max_length=255, help_text="text encoder of the Fréchet curve")
    size = models.PositiveIntegerField()
    seed = models.PositiveBigIntegerField()
    percentiles = models.JSONField(help_text="e.g. [90, 50, 10]: high, middle, low stratum")
    per_stratum = models.PositiveIntegerField()
    frechet_curve = models.JSONField(null=True, blank=True)
    draw = models.CharField(max_length=20, default="random", help_text="random, as the paper's, or representative")
    deduplicate = models.CharField(max_length=20, default="none", help_text="none, exact or near")
    near_duplicate_cosine = models.FloatField(null=True, blank=True)
    removed = models.PositiveIntegerField(default=0, help_text="repeated prompts that were not drawn from")
    distance = models.FloatField(null=True, blank=True, help_text="Fréchet distance of this subset to the whole set")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(size__gte=2), name="subset_has_two_prompts")]

    def __str__(self) -> str:
        return f"{self.size} of {self.prompt_set} (seed {self.seed})"


class SubsetPrompt(models.Model):
    """A prompt of a first subset, its CLIP score, and its stratum if it is in the final subset."""

    subset = models.ForeignKey(PromptSubset, on_delete=models.CASCADE, related_name="members")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="+")
    clip_score = models.FloatField(null=True, blank=True)
    stratum = models.CharField(max_length=20, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subset", "prompt"], name="prompt_once_per_subset"),
            models.CheckConstraint(condition=Q(stratum="") | Q(clip_score__isnull=False), name="stratum_needs_score"),
        ]
        ordering = ["subset", "prompt"]

    def __str__(self) -> str:
        return f"{self.prompt} in {self.subset}"


class SamplingRun(WorkItem):
    """Sampling settings that an admin tries on a prompt set, outside any study; a worker computes both curves.

    ``done`` and ``total`` count the current ``step`` alone; a step of unknown length has a total of 0.
    """

    prompt_set = models.ForeignKey(PromptSet, on_delete=models.CASCADE, related_name="sampling_runs")
    configuration = models.TextField(help_text="a study configuration as canonical JSON; what concerns prompts counts")
    step = models.CharField(max_length=40, blank=True, help_text="what the worker is at")
    frechet_curve = models.JSONField(null=True, blank=True)
    removed = models.PositiveIntegerField(default=0, help_text="repeated prompts that were not drawn from")
    creator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="sampling_runs"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta(WorkItem.Meta):
        constraints = [
            *WorkItem.Meta.constraints,
            models.CheckConstraint(
                condition=~Q(state="done") | Q(frechet_curve__isnull=False), name="sampling_run_done_has_curve"
            ),
        ]
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"sampling run {self.pk} on {self.prompt_set_id}"

    def after_failure(self, _error: str, /, *, final: bool) -> None:
        """Store the end of the run where it will not be tried again."""
        if final:
            SamplingRun.objects.filter(pk=self.pk).update(step="", finished_at=timezone.now())
