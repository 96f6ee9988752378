"""Define the semantic map of a picture, which a worker reads off when somebody asks for it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from evenhand.studies.models.images import Image
from evenhand.studies.models.work import WorkItem


class SemanticMap(WorkItem):
    """Which token each patch of a picture followed (eq. 9), by most votes of the segmentation-free iterations."""

    image = models.OneToOneField(Image, on_delete=models.CASCADE, related_name="semantic_map")
    found = models.JSONField(null=True, blank=True, help_text="names of the tokens, and rows of their indices")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(WorkItem.Meta):
        constraints = [
            *WorkItem.Meta.constraints,
            models.CheckConstraint(
                condition=~Q(state="done") | Q(found__isnull=False), name="semantic_map_done_is_found"
            ),
        ]

    def __str__(self) -> str:
        return f"semantic map of image {self.image_id}"
