"""Configure logging: one line per event on standard error, without the tokens of links; plain, or as JSON.

A line of JSON holds ``time``, ``level``, ``logger`` and ``message``, and, where they are known, ``exc_info``,
``status_code``, ``request_id``, ``task`` (Celery's id of the task), ``study``, ``stage``, ``batch`` and what else a
piece of work names (``WorkItem.log_ids``: numbers of records).
"""

from __future__ import annotations

import logging
import re
from typing import Any

from celery import current_task
from django.core.exceptions import ImproperlyConfigured

from evenhand.studies import log_ids

_TOKEN = re.compile(r"(/[ej]/)[^/\s\"?]+")
FORMATS = ("plain", "json")
FIELDS = {"time", "level", "logger", "message", "exc_info", "status_code"}


def _blank(text: str) -> str:
    return _TOKEN.sub(r"\1…", text)


class BlankTokens(logging.Filter):
    """Replace the token in ``/e/<token>/…`` and ``/j/<token>/…`` by an ellipsis, wherever it stands in a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        text = _blank(message)
        if text != message:
            record.msg, record.args = text, None
        return True


class Ids(logging.Filter):
    """Put the ids that are known onto a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        ids = dict(log_ids.current())
        if current_task and current_task.request.id:
            ids["task"] = current_task.request.id
        record.__dict__["ids"] = ids
        return True


class PlainLines(logging.Formatter):
    """Lines for people, with tracebacks below them."""

    def formatException(self, ei: Any) -> str:
        """Return a traceback without tokens."""
        return _blank(super().formatException(ei))


def json_lines() -> logging.Formatter:
    """Return the formatter of JSON lines; only ``FIELDS`` and ids are written, since others hold whole requests."""
    from pythonjsonlogger.json import JsonFormatter

    class JsonLines(JsonFormatter):
        def formatException(self, ei: Any) -> str:
            """Return a traceback without tokens."""
            return _blank(str(super().formatException(ei)))

        def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
            """Leave out what is none of the fields, and add the ids."""
            known = {name: value for name, value in log_data.items() if name in FIELDS}
            return known | log_data.get("ids", {})

    renamed = {"asctime": "time", "levelname": "level", "name": "logger"}
    return JsonLines("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=renamed, json_ensure_ascii=False)


def prepare_handlers_of(*loggers: str, style: str) -> None:
    """Blank tokens in the logs that a server writes by handlers of its own; write them as JSON where that is wanted."""
    for name in loggers:
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(BlankTokens())
            if style == "json":
                handler.addFilter(Ids())
                handler.setFormatter(json_lines())


def logging_as(style: str) -> dict[str, Any]:
    """Return Django's ``LOGGING`` for a format of ``FORMATS``; ``ImproperlyConfigured`` for another one."""
    if style not in FORMATS:
        raise ImproperlyConfigured(f"EVENHAND_LOG must be {' or '.join(FORMATS)}, not {style!r}")
    handler = {"class": "logging.StreamHandler", "formatter": style, "filters": ["blank_tokens", "ids"]}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "blank_tokens": {"()": "evenhand.config.observability.BlankTokens"},
            "ids": {"()": "evenhand.config.observability.Ids"},
        },
        "formatters": {
            "plain": {
                "()": "evenhand.config.observability.PlainLines",
                "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
            },
            "json": {"()": "evenhand.config.observability.json_lines"},
        },
        "handlers": {"stderr": handler},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "evenhand": {"level": "INFO"},
            "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        },
    }
