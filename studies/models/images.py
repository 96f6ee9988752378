"""Define recipes, arms, images and their scores."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from evenhand.generation.guidance import Guidance, from_dict
from evenhand.studies.models.prompts import Prompt


class Recipe(models.Model):
    """All settings that a study's arms share; with prompt, seed and arm they decide an image's bytes."""

    checkpoint = models.CharField(max_length=500, help_text="a folder or a hub id")
    revision = models.CharField(max_length=64, help_text="hash of the folder's files, or the hub's commit")
    scheduler = models.CharField(max_length=30)
    steps = models.PositiveSmallIntegerField()
    height = models.PositiveIntegerField()
    width = models.PositiveIntegerField()
    dtype = models.CharField(max_length=10)
    batch_size = models.PositiveSmallIntegerField(help_text="prompts per call; every call has this one shape")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["checkpoint", "revision", "scheduler", "steps", "height", "width", "dtype", "batch_size"],
                name="one_row_per_recipe",
            ),
            models.CheckConstraint(condition=Q(steps__gte=1), name="recipe_has_steps"),
            models.CheckConstraint(condition=Q(height__gt=0, width__gt=0, batch_size__gt=0), name="recipe_has_size"),
        ]

    def __str__(self) -> str:
        return f"{self.checkpoint}, {self.scheduler}, {self.steps} steps, {self.width}×{self.height}"


class Arm(models.Model):
    """A guidance with all its parameters."""

    label = models.TextField()
    guidance = models.JSONField(help_text="generation.guidance.to_dict")
    fingerprint = models.CharField(max_length=64, unique=True)

    def __str__(self) -> str:
        return self.label

    def to_guidance(self) -> Guidance:
        """Return the guidance object that ``generation`` takes."""
        return from_dict(self.guidance)


class Image(models.Model):
    """An image's record. Its file lies under its content hash, and is written before ``state`` becomes done."""

    class Kind(models.TextChoices):
        GENERATED = "generated"
        UPLOADED = "uploaded"
        ALTERED = "altered"

    class State(models.TextChoices):
        PLANNED = "planned"
        DONE = "done"

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="images")
    arm = models.ForeignKey(Arm, on_delete=models.PROTECT, related_name="images", null=True, blank=True)
    recipe = models.ForeignKey(Recipe, on_delete=models.PROTECT, related_name="images", null=True, blank=True)
    seed = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.GENERATED)
    state = models.CharField(max_length=10, choices=State, default=State.PLANNED)
    sha256 = models.CharField(max_length=64, blank=True)
    width = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)
    provenance = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                # uploaded and altered images have no arm, and NULLs never conflict
                fields=["prompt", "arm", "recipe", "seed"],
                name="one_image_per_prompt_arm_recipe_seed",
            ),
            models.UniqueConstraint(
                fields=["prompt", "arm", "seed"],
                condition=Q(kind="uploaded"),
                name="one_uploaded_image_per_prompt_arm_seed",
            ),
            models.CheckConstraint(condition=Q(state="planned") | ~Q(sha256=""), name="done_image_has_content"),
            models.CheckConstraint(
                condition=~Q(kind="generated") | Q(arm__isnull=False, recipe__isnull=False),
                name="generated_image_has_arm_and_recipe",
            ),
        ]

    def __str__(self) -> str:
        return f"image {self.pk} of prompt {self.prompt_id}"


class ImageScore(models.Model):
    """One metric's value for an image."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="scores")
    metric = models.CharField(max_length=255, help_text="name and model, e.g. clip:ViT-g-14/laion2b_s12b_b42k")
    value = models.FloatField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "metric"], name="one_score_per_metric")]

    def __str__(self) -> str:
        return f"{self.metric} = {self.value:.4f}"
