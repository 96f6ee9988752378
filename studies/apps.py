"""Register the application with Django."""

from __future__ import annotations

from django.apps import AppConfig


class StudiesConfig(AppConfig):
    """Records, order of work and pages of preference studies."""

    name = "evenhand.studies"
    verbose_name = "Preference studies"

    def ready(self) -> None:
        """Keep the files of an embedded database to their owner, and what failed logins sent out of the database."""
        from axes.models import AccessAttempt
        from django.db.backends.signals import connection_created
        from django.db.models.signals import pre_save

        from evenhand.studies.database_files import keep_to_owner
        from evenhand.studies.logins import keep_nothing_sent

        connection_created.connect(keep_to_owner, dispatch_uid="evenhand.keep_to_owner")
        pre_save.connect(keep_nothing_sent, sender=AccessAttempt, dispatch_uid="evenhand.keep_nothing_sent")
