"""Refuse requests whose content type cannot be read, before Django makes a request of them."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable
from typing import Any

from django.utils.http import parse_header_parameters

CHARSETS = frozenset({"utf-8", "ascii", "iso8859-1", "cp1252"})  # as Python names them
REFUSAL = b"The content type of this request cannot be read.\n"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def is_readable(content_type: str) -> bool:
    """Whether a content type names a known text encoding or none, and a multipart body's boundary in ASCII."""
    try:
        kind, parameters = parse_header_parameters(content_type)
        charset = parameters.get("charset")
        if charset is not None and codecs.lookup(charset).name not in CHARSETS:
            return False
    except (ValueError, LookupError):
        return False
    return not kind.startswith("multipart/") or (parameters.get("boundary", "").isascii() and "boundary" in parameters)


def refusing(application: Application) -> Application:
    """Return a WSGI application that answers 400 in place of Django where the content type cannot be read."""

    def checked(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if is_readable(environ.get("CONTENT_TYPE", "")):
            return application(environ, start_response)
        start_response("400 Bad Request", [("Content-Type", "text/plain"), ("Content-Length", str(len(REFUSAL)))])
        return [REFUSAL]

    return checked
