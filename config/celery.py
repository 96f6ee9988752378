"""Configure Celery; its messages only tell workers to look for work in the database."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready
from django.conf import settings
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "evenhand.config.settings")
# Django's checks import every page, which a worker never serves: 0.1 GB. ``manage.py`` runs them before each command.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

TRANSPORT_ALIASES["filesystem"] = "evenhand.config.broker:Transport"
app = Celery("evenhand")

# Whoever sends a message waits for a few seconds where the broker is silent or gone: work is safe in the database, and
# workers look for it. A worker's own connection is made again for as long as it lives.
SHORT_WAITS: dict[str, Any] = {
    "socket_connect_timeout": 2,
    "socket_timeout": 2,
    "retry_on_timeout": False,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.2,
}
BEAT: dict[str, dict[str, Any]] = {
    "resume stalled work": {
        "task": "evenhand.resume",
        "schedule": 60.0,
        "options": {"queue": "cpu", "expires": 60},
    },
    "make lost pictures again": {
        "task": "evenhand.restore_pictures",
        "schedule": 3600.0,
        "options": {"queue": "gpu", "expires": 3600},
    },
}


def _transport_options() -> dict[str, Any]:
    if settings.CELERY_BROKER_URL.startswith("redis"):
        return SHORT_WAITS
    if not settings.CELERY_BROKER_URL.startswith("filesystem"):
        return {}
    folders = {name: settings.BROKER_FOLDER / name for name in ("queue", "processed", "control")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    # In and out are one folder, because the worker reads the messages that the web process writes.
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
        "broker_connection_max_retries": None,
        "broker_connection_timeout": 2,
        "beat_schedule": BEAT,
        "beat_schedule_filename": str(settings.VAR / "beat-schedule"),
        "task_ignore_result": True,
        "task_default_queue": "cpu",
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "timezone": "UTC",
    }


# Celery calls this when it first needs a value: the settings module imports this package while it is being loaded.
app.add_defaults(_configuration)
app.autodiscover_tasks(["evenhand.studies.pipeline"])


@worker_ready.connect
def _look_for_work(**_: object) -> None:
    """Look for work that another worker left, when this worker starts and then on a timer."""
    from evenhand.studies.work.notify import start_timer

    start_timer(",".join(sorted(app.amqp.queues.consume_from)))
