"""Slow down the guessing of passwords, with django-axes, and store neither addresses, names nor browsers for it."""

from __future__ import annotations

import math
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from evenhand.studies.keys import keyed_hash


class FailedLogins(AxesDatabaseHandler):
    """Count failed logins in the database by hashes of name and address, and keep nothing else of the request."""

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
    ) -> None:
        """Count one failed login."""
        if request is not None:
            request.axes_user_agent = request.axes_http_accept = ""  # type: ignore[attr-defined]
        super().user_login_failed(sender, credentials, request, **kwargs)


def keep_nothing_sent(instance: AccessAttempt, **kwargs: Any) -> None:
    """Empty what django-axes would store of a request's fields, before the row is written."""
    instance.get_data = instance.post_data = ""


def name_hash(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """Return 64 hex digits that stand for the name of a login: some people type their password there."""
    name = (credentials or {}).get("username") or request.POST.get("username", "")
    return keyed_hash(f"login:{name}")


def locked_out(request: HttpRequest, response: HttpResponse | None, credentials: dict[str, Any] | None) -> HttpResponse:
    """Answer whoever has tried too often: 429, with when to try again."""
    [attempts] = AxesProxyHandler.get_implementation().get_user_attempts(request, credentials)
    last = attempts.aggregate(at=Max("attempt_time"))["at"] or timezone.now()
    seconds = max(1, math.ceil((last + settings.AXES_COOLOFF_TIME - timezone.now()).total_seconds()))
    context = {"minutes": math.ceil(seconds / 60), "tries": settings.AXES_FAILURE_LIMIT}
    page = render(request, "console/locked_out.html", context, status=429)
    page["Retry-After"] = str(seconds)
    return page
