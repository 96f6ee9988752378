"""The Celery application. A message only tells a worker to look: the work itself is rows in the database."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "evenhand.config.settings")

app = Celery("evenhand")


def _transport_options() -> dict[str, Any]:
    if not settings.CELERY_BROKER_URL.startswith("filesystem"):
        return {}
    folders = {name: settings.BROKER_FOLDER / name for name in ("queue", "processed", "control")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    # In and out are one folder: what the web process puts there, the worker takes.
    return {
        "data_folder_in": str(folders["queue"]),
        "data_folder_out": str(folders["queue"]),
        "processed_folder": str(folders["processed"]),
        "control_folder": str(folders["control"]),
        "store_processed": False,
    }


def _configuration() -> dict[str, Any]:
    return {
        "broker_url": settings.CELERY_BROKER_URL,
        "broker_transport_options": _transport_options(),
        "broker_connection_retry_on_startup": True,
        "task_ignore_result": True,
        "task_default_queue": "cpu",
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "timezone": "UTC",
    }


# Read when first needed: a settings module imports this package before it is complete itself.
app.add_defaults(_configuration)
app.autodiscover_tasks(["evenhand.studies.pipeline"])


@worker_ready.connect
def _look_for_work(**_: object) -> None:
    """A worker that starts looks for work left by one that died, and looks again on a timer."""
    from evenhand.studies.work.notify import start_timer

    start_timer()
