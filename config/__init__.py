"""Hold the settings, addresses and entry points of the web application."""

from evenhand.config.celery import app as celery_app

__all__ = ["celery_app"]

if __name__ == "config":  # imported by the folder's name, from a checkout
    from evenhand.folders import lead_to_package

    lead_to_package(__name__)
