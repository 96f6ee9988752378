"""The tasks of one process: messages that Celery runs in two threads never work at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from evenhand.studies.pipeline import lost_pictures, stages, tasks


def test_a_delayed_message_waits_for_the_one_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work: list[str] = []
    most: list[int] = []

    def take_a_while(name: str) -> None:
        at_work.append(name)
        time.sleep(0.1)
        most.append(len(at_work))
        at_work.remove(name)

    def work_through(_handlers: Mapping[Any, Any], queue: str, **_: Any) -> int:
        take_a_while(queue)
        return 1

    monkeypatch.setattr(stages, "advance_idle", lambda: None)
    monkeypatch.setattr(tasks, "work_through", work_through)

    def restore(_images: object) -> lost_pictures.Restoring:
        take_a_while("lost pictures")
        return lost_pictures.Restoring()

    monkeypatch.setattr(lost_pictures, "of_open_studies", list)
    monkeypatch.setattr(lost_pictures, "lost", list)
    monkeypatch.setattr(lost_pictures, "restore", restore)
    threads = [threading.Thread(target=tasks.work, args=(queue,)) for queue in ("cpu", "gpu", "gpu")]
    threads.append(threading.Thread(target=tasks.restore_pictures))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]
