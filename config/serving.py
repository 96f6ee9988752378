"""Configure gunicorn: ``gunicorn --config python:evenhand.config.serving evenhand.config.wsgi``.

The lines that gunicorn itself writes are without tokens and in the format of EVENHAND_LOG, from the first one on. Where
EVENHAND_METRICS is 1 its processes share what they measure, in a folder that lives as long as gunicorn.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from gunicorn.glogging import Logger

from evenhand.config.observability import prepare_handlers_of

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported, in each process
MEASURES = os.environ.get("EVENHAND_METRICS", "0").lower() in {"1", "true"}


class Lines(Logger):
    """gunicorn's logger, whose handlers are prepared as they are made."""

    def setup(self, cfg: Any) -> None:
        """Make the handlers."""
        super().setup(cfg)
        prepare_handlers_of("gunicorn.access", "gunicorn.error", style=os.environ.get("EVENHAND_LOG") or "plain")


logger_class = Lines


def on_starting(_server: Any) -> None:
    """Make the folder, before any process that serves is started."""
    if MEASURES:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="evenhand-measured-")


def child_exit(_server: Any, worker: Any) -> None:
    """Let the figures of a process that ended count on, without those that tell what is now."""
    if MEASURES:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    """Remove the folder."""
    if MEASURES:
        shutil.rmtree(os.environ[FOLDER], ignore_errors=True)
