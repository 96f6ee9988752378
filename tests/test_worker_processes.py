"""The workers of a machine: which processes there are, what each sees of the GPUs, and what happens when one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from evenhand.errors import InputError
from evenhand.studies import worker_processes
from evenhand.studies.models import WorkerSign
from evenhand.studies.worker_processes import Workers, gpus_named, plan_workers, usable_cores
from tests.helpers.child_environment import child_environment

NOTE = """
import os, pathlib, sys, time
name = sys.argv[-1].removeprefix("--hostname=").partition("@")[0]
pathlib.Path(FOLDER, f"{name}-{os.getpid()}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
time.sleep(60)
"""


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.02)


def test_eight_gpus_are_eight_processes_that_see_one_each() -> None:
    plans = plan_workers(gpus_named("8"), cpus=2)
    assert [(plan.name, plan.queues, plan.variables["CUDA_VISIBLE_DEVICES"]) for plan in plans] == [
        *((f"gpu{i}", "gpu", str(i)) for i in range(8)),
        ("cpu0", "cpu", ""),
        ("cpu1", "cpu", ""),
    ]
    assert {plan.variables["EVENHAND_DEVICE"] for plan in plans} == {"cuda", "cpu"}


@pytest.mark.parametrize(
    ("text", "visible", "gpus"),
    [
        ("2", None, ["0", "1"]),
        ("0,3", None, ["0", "3"]),
        ("2", "5,7", ["5", "7"]),  # numbers count among what is visible
        ("1,0", "5,7", ["7", "5"]),
        ("GPU-8932f937", "GPU-8932f937,GPU-a1", ["GPU-8932f937"]),
        ("0", None, []),
    ],
)
def test_gpus_are_named_by_their_number_or_by_themselves(text: str, visible: str | None, gpus: list[str]) -> None:
    assert gpus_named(text, visible) == gpus


@pytest.mark.parametrize(
    ("text", "visible", "says"),
    [("1,1", None, "different GPUs"), ("0,,2", None, "different GPUs"), ("3", "5,7", "offers 2")],
)
def test_gpus_that_are_not_there_are_refused(text: str, visible: str | None, says: str) -> None:
    with pytest.raises(InputError, match=says):
        gpus_named(text, visible)


def test_several_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for cores, gpus, cpus, threads in ((8, [], 2, "4"), (16, ["0", "1"], 3, "3"), (2, [], 3, "1"), (4, [], 1, None)):
        monkeypatch.setattr("evenhand.studies.worker_processes.usable_cores", lambda cores=cores: cores)
        assert {plan.variables.get("OMP_NUM_THREADS") for plan in plan_workers(gpus, cpus)} == {threads}
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert all("OMP_NUM_THREADS" not in plan.variables for plan in plan_workers(["0"], 3))


def test_a_system_that_does_not_tell_a_process_s_cores_tells_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    assert usable_cores() == os.cpu_count()


def test_without_options_one_process_works_for_both_queues() -> None:
    (plan,) = plan_workers([], 0)
    assert (plan.queues, dict(plan.variables)) == ("cpu,gpu", {})
    with pytest.raises(InputError, match="--cpus"):
        plan_workers([], -1)


def test_a_process_that_ends_is_started_again_and_all_end_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = NOTE.replace("FOLDER", repr(str(tmp_path)))
    monkeypatch.setattr(worker_processes, "worker_command", lambda queues: [sys.executable, "-c", script])
    monkeypatch.setattr(worker_processes, "FIRST_PAUSE", 0.05)
    workers = Workers(plan_workers(["4", "6"], 0))
    thread = threading.Thread(target=workers.run)
    thread.start()
    try:
        until(lambda: len(list(tmp_path.iterdir())) == 2)
        first, second = sorted(tmp_path.iterdir())
        assert (first.read_text(), second.read_text()) == ("4", "6")
        os.kill(int(first.name.partition("-")[2]), signal.SIGKILL)
        until(lambda: len(list(tmp_path.glob("gpu0-*"))) == 2)
        assert len(list(tmp_path.glob("gpu1-*"))) == 1
    finally:
        workers.stop()
        thread.join(timeout=30)
    assert not thread.is_alive()
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name.partition("-")[2]), 0)


@pytest.mark.slow
@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_the_command_runs_real_workers_and_ends_them() -> None:
    command: list[Any] = [sys.executable, "manage.py", "worker", "--cpus", "2"]
    process = subprocess.Popen(
        command, cwd=settings.BASE_DIR, env=child_environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        until(lambda: WorkerSign.objects.count() == 2, seconds=120)
        assert set(WorkerSign.objects.values_list("queues", flat=True)) == {"cpu"}
        pid = int(WorkerSign.objects.values_list("name", flat=True)[0].split()[-1])
        os.kill(pid, signal.SIGKILL)
        until(lambda: WorkerSign.objects.count() == 3, seconds=120)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert {"cpu0: queue cpu", "cpu1: queue cpu"} <= set(output.splitlines())
