"""Provide the WSGI entry point."""

from __future__ import annotations

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from evenhand.config.content_types import refusing
from evenhand.config.observability import prepare_handlers_of
from evenhand.config.requests import with_request_ids

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "evenhand.config.settings")
application = with_request_ids(refusing(get_wsgi_application()))
_ = get_resolver().url_patterns  # imports every page's module now: the first visitor should not wait for it
# whose handlers the server has made before it loads this
prepare_handlers_of("gunicorn.access", "gunicorn.error", style=settings.LOG_FORMAT)
