"""Show the records in Django's admin, read-only: only the application writes them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from evenhand.studies import models


class ReadOnly(admin.ModelAdmin):
    """Base of all record pages; none may be added, changed or deleted here."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(models.PromptSet)
class PromptSetAdmin(ReadOnly):
    list_display = ("name", "count", "duplicates", "source", "created_at")


@admin.register(models.Prompt)
class PromptAdmin(ReadOnly):
    list_display = ("index", "text", "prompt_set")
    list_filter = ("prompt_set",)
    search_fields = ("text",)
    list_select_related = ("prompt_set",)


@admin.register(models.PromptSubset)
class PromptSubsetAdmin(ReadOnly):
    list_display = ("prompt_set", "encoder", "size", "seed", "distance")
    list_select_related = ("prompt_set",)


@admin.register(models.SamplingRun)
class SamplingRunAdmin(ReadOnly):
    list_display = ("prompt_set", "state", "step", "created_at", "finished_at")
    list_select_related = ("prompt_set",)


@admin.register(models.RecipeCheck)
class RecipeCheckAdmin(ReadOnly):
    list_display = ("study", "state", "error", "created_at", "finished_at")
    list_select_related = ("study",)


@admin.register(models.SemanticMap)
class SemanticMapAdmin(ReadOnly):
    list_display = ("image", "state", "error", "created_at")
    list_select_related = ("image",)


@admin.register(models.SubsetPrompt)
class SubsetPromptAdmin(ReadOnly):
    list_display = ("prompt", "clip_score", "stratum")
    list_filter = ("stratum",)
    list_select_related = ("prompt",)


@admin.register(models.Recipe)
class RecipeAdmin(ReadOnly):
    list_display = ("checkpoint", "scheduler", "steps", "width", "height", "dtype", "batch_size")


@admin.register(models.Arm)
class ArmAdmin(ReadOnly):
    list_display = ("label", "fingerprint")


@admin.register(models.Image)
class ImageAdmin(ReadOnly):
    list_display = ("pk", "prompt", "arm", "seed", "kind", "state", "sha256")
    list_filter = ("kind", "state")
    list_select_related = ("prompt", "arm")


@admin.register(models.ImageScore)
class ImageScoreAdmin(ReadOnly):
    list_display = ("image_id", "metric", "value")


@admin.register(models.Study)
class StudyAdmin(ReadOnly):
    list_display = ("name", "owner", "state", "prompt_set", "created_at")
    list_filter = ("state",)
    list_select_related = ("owner", "prompt_set")


@admin.register(models.StudyVersion)
class StudyVersionAdmin(ReadOnly):
    list_display = ("study", "number", "sha256", "created_at")
    list_select_related = ("study",)


@admin.register(models.Comparison)
class ComparisonAdmin(ReadOnly):
    list_display = ("study", "position", "baseline", "candidate")
    list_select_related = ("study", "baseline", "candidate")


@admin.register(models.Pair)
class PairAdmin(ReadOnly):
    list_display = ("pk", "comparison", "prompt", "stratum")
    list_filter = ("stratum",)
    list_select_related = ("comparison__baseline", "comparison__candidate", "prompt")


@admin.register(models.Stage)
class StageAdmin(ReadOnly):
    list_display = ("study", "name", "state", "done", "total", "evaluations", "error")
    list_filter = ("state",)
    list_select_related = ("study",)


@admin.register(models.Batch)
class BatchAdmin(ReadOnly):
    list_display = ("stage", "number", "queue", "state", "attempts", "lease_until", "error")
    list_filter = ("state", "queue")
    list_select_related = ("stage__study",)


@admin.register(models.Evaluator)
class EvaluatorAdmin(ReadOnly):
    list_display = ("public_id", "study", "note", "simulated", "consented_at", "finished_at")
    list_filter = ("simulated", "study")
    list_select_related = ("study",)
    exclude = ("nonce",)  # with the public id and the server's secret it would make a link


@admin.register(models.Booklet)
class BookletAdmin(ReadOnly):
    list_display = ("study", "block", "number", "evaluator", "claimed_at")
    list_select_related = ("study", "evaluator")


@admin.register(models.Trial)
class TrialAdmin(ReadOnly):
    list_display = ("public_id", "booklet", "position", "kind", "pair_id", "candidate_on_left", "released")
    list_filter = ("kind",)
    list_select_related = ("booklet",)


@admin.register(models.Skip)
class SkipAdmin(ReadOnly):
    list_display = ("trial_id", "reason", "note", "at")
    list_filter = ("reason",)


@admin.register(models.Rating)
class RatingAdmin(ReadOnly):
    list_display = ("pk", "trial_id", "evaluator", "choice", "counted", "superseded", "elapsed_ms", "rated_at")
    list_filter = ("choice", "counted", "superseded")
    list_select_related = ("evaluator",)


@admin.register(models.Replication)
class ReplicationAdmin(ReadOnly):
    list_display = ("study", "original_name", "bundle_root", "anonymous", "created_at")
    list_select_related = ("study",)


@admin.register(models.Exclusion)
class ExclusionAdmin(ReadOnly):
    list_display = ("study", "evaluator", "rating_id", "reason", "made_by", "made_at", "lifted_at")
    list_select_related = ("study", "evaluator", "made_by")


@admin.register(models.AuditEvent)
class AuditEventAdmin(ReadOnly):
    list_display = ("study", "action", "actor", "at")
    list_filter = ("action",)
    list_select_related = ("study", "actor")


@admin.register(models.Membership)
class MembershipAdmin(ReadOnly):
    list_display = ("study", "user", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("study", "user")


@admin.register(models.ApiToken)
class ApiTokenAdmin(ReadOnly):
    list_display = ("user", "name", "created_at", "expires_on", "last_used_on", "revoked_at")
    list_select_related = ("user",)
    exclude = ("hmac",)
