"""Define who else than its owner works on a study."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from evenhand.studies.models.designs import Study


class Membership(models.Model):
    """The role of a user in a study that somebody else owns."""

    class Role(models.TextChoices):
        COLLABORATOR = "collaborator"
        VIEWER = "viewer"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "user"], name="one_role_per_user"),
            models.CheckConstraint(condition=Q(role__in=["collaborator", "viewer"]), name="role_is_known"),
        ]
        ordering = ["study", "user"]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.study}"
