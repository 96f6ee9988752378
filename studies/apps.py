"""Register the application with Django."""

from __future__ import annotations

from django.apps import AppConfig


class StudiesConfig(AppConfig):
    """Records, order of work and pages of preference studies."""

    name = "evenhand.studies"
    verbose_name = "Preference studies"
