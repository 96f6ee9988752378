"""Provide the WSGI entry point."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "evenhand.config.settings")
application = get_wsgi_application()
_ = get_resolver().url_patterns  # imports every page's module now: the first visitor should not wait for it
