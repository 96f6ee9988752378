"""Configure logging: one line per event on standard error, without the tokens of links."""

from __future__ import annotations

import logging
import re
from typing import Any

_TOKEN = re.compile(r"(/[ej]/)[^/\s\"?]+")


class BlankTokens(logging.Filter):
    """Replace the token in ``/e/<token>/…`` and ``/j/<token>/…`` by an ellipsis, wherever it stands in a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        text = _TOKEN.sub(r"\1…", message)
        if text != message:
            record.msg, record.args = text, None
        return True


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"blank_tokens": {"()": "evenhand.config.observability.BlankTokens"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["blank_tokens"]}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "evenhand": {"level": "INFO"},
        "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}
