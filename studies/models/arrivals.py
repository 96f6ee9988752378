"""Define how many people have come in within an hour, by hashes of where they came from."""

from __future__ import annotations

from django.db import models


class Arrivals(models.Model):
    """How often somebody came in within one hour, from one address or by one link; later hours delete it."""

    source = models.CharField(max_length=80, help_text="keyed hash of an address on one day, or a study's link")
    hour = models.DateTimeField(help_text="its beginning, UTC")
    count = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "hour"], name="one_count_per_source_and_hour"),
        ]
        ordering = ["hour", "source"]

    def __str__(self) -> str:
        return f"{self.count} in the hour from {self.hour:%H:%M}"
