"""Settings, addresses and entry points of the web application."""

from evenhand.config.celery import app as celery_app

__all__ = ["celery_app"]
