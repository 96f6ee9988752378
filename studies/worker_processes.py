"""Run a machine's workers: one process a GPU, any number on the CPU, each started again when it ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.conf import settings

from evenhand.errors import InputError
from evenhand.studies.demonstration.processes import environment, worker_command

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a process that has ended is started again
LIVED = 60.0  # seconds after which a process counts as sound: the pause after its end is the first one again
LOOK = 0.2  # seconds between two looks at the processes


@dataclass(frozen=True)
class WorkerPlan:
    """One worker process: its name on this machine, its queues, and what its environment has of its own."""

    name: str
    queues: str
    variables: Mapping[str, str]


def gpus_named(text: str, visible: str | None = None) -> list[str]:
    """Return the GPUs that ``--gpus`` means: “8” is the first eight, “0,3” or a GPU's own name are those.

    visible: CUDA_VISIBLE_DEVICES where it is set; the numbers then count among those. Raises ``InputError``.
    """
    offered = [each.strip() for each in visible.split(",") if each.strip()] if visible is not None else None
    names = [each.strip() for each in text.split(",")]
    if len(names) == 1 and names[0].isdecimal():
        names = [str(number) for number in range(int(names[0]))]
    if "" in names or len(set(names)) < len(names):
        raise InputError(f"--gpus wants a number of GPUs, or different GPUs apart by commas, not {text!r}")
    if offered is None:
        return names
    missing = [name for name in names if name.isdecimal() and int(name) >= len(offered)]
    if missing:
        raise InputError(f"--gpus {text}: CUDA_VISIBLE_DEVICES={visible} offers {len(offered)}")
    return [offered[int(name)] if name.isdecimal() else name for name in names]


def plan_workers(gpus: Sequence[str], cpus: int) -> list[WorkerPlan]:
    """Return a process for each GPU, on the queue ``gpu``, and as many on ``cpu``; without both one for both queues.

    Each of several processes computes with its share of the machine's cores: where each took all of them, they would
    wait for each other. ``OMP_NUM_THREADS`` in the environment means another number.
    """
    if cpus < 0:
        raise InputError(f"--cpus must be 0 or more, not {cpus}")
    if not gpus and not cpus:
        return [WorkerPlan("worker", "cpu,gpu", {})]
    count = len(gpus) + cpus
    alone = count == 1 or "OMP_NUM_THREADS" in os.environ
    shared = {} if alone else {"OMP_NUM_THREADS": str(thread_share(count))}
    on_gpu = {"EVENHAND_DEVICE": "cuda", **shared}
    on_cpu = {"EVENHAND_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": "", **shared}
    return [
        *(WorkerPlan(f"gpu{i}", "gpu", {**on_gpu, "CUDA_VISIBLE_DEVICES": name}) for i, name in enumerate(gpus)),
        *(WorkerPlan(f"cpu{i}", "cpu", on_cpu) for i in range(cpus)),
    ]


def thread_share(processes: int) -> int:
    """Return how many threads each of so many processes may use, at least 1, of the cores that this one may."""
    return max(1, usable_cores() // processes)


def usable_cores() -> int:
    """Return how many cores this process may use, or where the system does not tell, how many there are."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass
class _Running:
    plan: WorkerPlan
    process: subprocess.Popen[bytes]
    started_at: float
    pause: float = FIRST_PAUSE
    again_at: float | None = None  # when an ended process is to be started again


@dataclass
class Workers:
    """The processes of a machine. ``stop`` lets each end after the item in its hands; ``kill`` at once."""

    plans: Sequence[WorkerPlan]
    stopping: bool = False  # no lock: a signal's handler sets it
    _running: list[_Running] = field(default_factory=list)

    def run(self) -> None:
        """Start all, and start again whichever ends, until ``stop``; return when all have ended."""
        self._running = [_Running(plan, _start(plan), time.monotonic()) for plan in self.plans]
        while not self.stopping:
            time.sleep(LOOK)
            for each in self._running:
                self._look_at(each)
        for each in self._running:
            each.process.send_signal(signal.SIGTERM)
        for each in self._running:
            each.process.wait()

    def stop(self) -> None:
        """Let every process end after the item in its hands; when asked again, end them at once."""
        if self.stopping:
            for each in self._running:
                each.process.kill()
        self.stopping = True

    def _look_at(self, each: _Running) -> None:
        now = time.monotonic()
        if each.again_at is None:
            if (status := each.process.poll()) is None:
                return
            each.pause = FIRST_PAUSE if now - each.started_at >= LIVED else min(2 * each.pause, LONGEST_PAUSE)
            each.again_at = now + each.pause
            logger.warning("%s ended with status %s; it starts again in %.0f s", each.plan.name, status, each.pause)
        elif now >= each.again_at:
            each.process, each.started_at, each.again_at = _start(each.plan), now, None


def _start(plan: WorkerPlan) -> subprocess.Popen[bytes]:
    # A session of its own: a key press in the terminal reaches this process alone, which then lets them end.
    return subprocess.Popen(  # noqa: S603
        [*worker_command(plan.queues), f"--hostname={plan.name}@%h"],
        cwd=settings.WORKING_FOLDER,
        env={**environment(), **plan.variables},
        start_new_session=True,
    )


def visible_devices() -> str | None:
    """Return CUDA_VISIBLE_DEVICES; None where it is not set."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")
