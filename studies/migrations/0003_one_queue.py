"""Give batches and sampling runs the same columns, so that one queue serves both; let an arm's label be of any length."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import F, Q

STATES = [("waiting", "Waiting"), ("leased", "Leased"), ("done", "Done"), ("failed", "Failed")]


def to_leased(apps, schema_editor):
    runs = apps.get_model("studies", "SamplingRun").objects
    runs.update(queue="gpu")
    runs.filter(state="running", holder__isnull=False, lease_until__isnull=False).update(state="leased")
    runs.filter(state="running").update(state="waiting")
    runs.filter(done__gt=F("total")).update(done=F("total"))
    _check_deferred(schema_editor)


def to_running(apps, schema_editor):
    apps.get_model("studies", "SamplingRun").objects.filter(state="leased").update(state="running")
    _check_deferred(schema_editor)


def _check_deferred(schema_editor):
    """Let PostgreSQL check the changed rows' foreign keys now: it alters no table while such checks are pending."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


class Migration(migrations.Migration):
    dependencies = [("studies", "0002_evaluators_way")]

    operations = [
        migrations.AlterField("arm", "label", models.TextField()),
        migrations.RemoveConstraint("batch", "batch_progress_within_size"),
        migrations.RenameField("batch", "progress", "done"),
        migrations.RenameField("batch", "size", "total"),
        migrations.AddField("samplingrun", "queue", models.CharField(default="cpu", max_length=10)),
        migrations.AddField(
            "samplingrun",
            "not_before",
            models.DateTimeField(blank=True, help_text="when a failed attempt may be repeated", null=True),
        ),
        migrations.AlterField("samplingrun", "attempts", models.PositiveSmallIntegerField(default=0)),
        migrations.AlterField(
            "samplingrun",
            "total",
            models.PositiveIntegerField(default=1, help_text="units of progress in it"),
        ),
        migrations.AlterField(
            "samplingrun", "state", models.CharField(choices=STATES, default="waiting", max_length=10)
        ),
        migrations.RunPython(to_leased, to_running),
        migrations.AddIndex(
            "samplingrun", models.Index(fields=["queue", "state", "lease_until"], name="samplingrun_to_claim")
        ),
        migrations.AddConstraint(
            "batch", models.CheckConstraint(condition=Q(done__lte=F("total")), name="batch_done_within_total")
        ),
        migrations.AddConstraint(
            "samplingrun",
            models.CheckConstraint(
                condition=~Q(state="leased") | Q(holder__isnull=False, lease_until__isnull=False),
                name="leased_samplingrun_has_holder",
            ),
        ),
        migrations.AddConstraint(
            "samplingrun",
            models.CheckConstraint(condition=Q(done__lte=F("total")), name="samplingrun_done_within_total"),
        ),
    ]
