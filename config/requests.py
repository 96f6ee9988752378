"""Give every request an id, under which the lines that it logs are found."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from evenhand.studies.log_ids import noted

_READABLE = re.compile(r"[0-9A-Za-z-]{8,64}")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def with_request_ids(application: Application) -> Application:
    """Return a WSGI application whose lines bear the id of ``X-Request-ID``, which a proxy sets, or a new one.

    It is no middleware of Django's, because Django logs an answer of 400 and more after the last of these.
    """

    def identified(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        with noted(request_id=given if _READABLE.fullmatch(given) else uuid.uuid4().hex):
            return application(environ, start_response)

    return identified
