"""Define what a study records of the one that it replicates."""

from __future__ import annotations

from django.db import models

from evenhand.studies.models.designs import Study


class Replication(models.Model):
    """Says which bundle a study was opened from, and keeps the original's counting ratings for its report."""

    study = models.OneToOneField(Study, on_delete=models.CASCADE, related_name="replication")
    bundle_root = models.CharField(max_length=64, help_text="SHA-256 of the bundle's list of checksums")
    anonymous = models.BooleanField(default=False, help_text="the bundle's form; its rating chains were not verified")
    original_name = models.CharField(max_length=100)
    original_state = models.CharField(max_length=12, choices=Study.State, help_text="when the bundle was written")
    original_version_sha256 = models.CharField(max_length=64, help_text="of the configuration in force then")
    ratings = models.JSONField(help_text="columns of one length: pair (this study's), criterion, evaluator, …")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.study} replicates {self.original_name}"
