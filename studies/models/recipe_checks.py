"""Define the check of a draft's recipe, which a worker makes before the plan is frozen."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from evenhand.studies.models.designs import Study
from evenhand.studies.models.work import WorkItem


class RecipeCheck(WorkItem):
    """A draft's checkpoints and encoder, as a worker read them, and how long a network evaluation took it.

    ``done`` and ``total`` count checkpoints, with one more for the encoder.
    """

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="recipe_checks")
    configuration = models.TextField(help_text="the draft's configuration as canonical JSON")
    subject = models.CharField(max_length=64, help_text="hash of what was asked, which other steps do not change")
    findings = models.JSONField(null=True, blank=True)
    creator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="recipe_checks"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta(WorkItem.Meta):
        constraints = [
            *WorkItem.Meta.constraints,
            models.CheckConstraint(
                condition=~Q(state="done") | Q(findings__isnull=False), name="recipe_check_done_has_findings"
            ),
        ]
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"check {self.pk} of the recipe of “{self.study}”"

    def after_failure(self, _error: str, /, *, final: bool) -> None:
        """Store the end of the check where it will not be tried again."""
        if final:
            RecipeCheck.objects.filter(pk=self.pk).update(finished_at=timezone.now())
