"""Hold an installation that faults are injected into: its folder, its services, its processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
from django.conf import settings
from django.db import connection

from evenhand.studies.demonstration.processes import free_port, tail, worker_command
from evenhand.studies.work.outage import DATABASE_OUTAGES
from tests.helpers.faults.disk import SmallDisk
from tests.helpers.faults.services import Postgres, Redis, children_of

Result = TypeVar("Result")

ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # equal in all runs, since sums in other orders give other bytes


@dataclass
class Kept:
    """A process that is started again whenever it has ended, as a service manager does.

    What the process had started itself is killed first, as systemd and containers do.
    """

    command: Sequence[str]
    log: Path
    environment: dict[str, str]
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0

    def tend(self) -> None:
        """Start it where it does not run."""
        if self.process is not None:
            if self.process.poll() is None:
                return
            self.end()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=settings.BASE_DIR,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.starts += 1
        self.started_at = time.monotonic()

    @property
    def age(self) -> float:
        """Return for how many seconds the process has run."""
        return time.monotonic() - self.started_at

    def kill(self) -> None:
        """Kill the process as the system does when memory runs out: it can do nothing about it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def children(self) -> list[int]:
        """Return the numbers of the processes that it has started."""
        assert self.process is not None
        return children_of(self.process.pid)

    def end(self) -> None:
        """Kill it with all that it has started."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Place:
    """An installation: this process's database, and what the children need to use it."""

    name: str  # of its services, for the report
    folder: Path  # for logs
    environment: dict[str, str]
    postgres: Postgres | None = None
    redis: Redis | None = None
    disk: SmallDisk | None = None
    kept: list[Kept] = field(default_factory=list)

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a management command in a process of its own."""
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(
            command, cwd=settings.BASE_DIR, env=self.environment, capture_output=True, text=True, check=False
        )

    def start_worker(self) -> Kept:
        """Start a worker for all queues."""
        return self._keep(worker_command(), f"worker-{len(self.kept)}.log")

    def start_web(self, workers: int = 2) -> tuple[Kept, str]:
        """Start gunicorn with some processes; return it and its address."""
        address = f"127.0.0.1:{free_port(0)}"
        command = [sys.executable, "-m", "gunicorn", "evenhand.config.wsgi", "--bind", address]
        options = ["--workers", str(workers), "--threads", "8", "--keep-alive", "75", "--log-level", "warning"]
        return self._keep([*command, *options], "web.log"), f"http://{address}"

    def wait_for_web(self, url: str, seconds: float = 60) -> None:
        """Return when the web server answers. Raises ``RuntimeError``."""

        def answers() -> bool:
            try:
                return httpx.get(f"{url}/healthz", timeout=2).is_success
            except httpx.HTTPError:
                return False

        if not self.wait(answers, seconds):
            raise RuntimeError(f"the web server did not come up:\n{self.ends_of_logs()}")

    def _keep(self, command: Sequence[str], log: str) -> Kept:
        kept = Kept(command, self.folder / log, self.environment)
        self.kept.append(kept)
        kept.tend()
        return kept

    @contextmanager
    def tended(self) -> Iterator[None]:
        """End all processes that were started in the block."""
        try:
            yield
        finally:
            for kept in self.kept:
                kept.end()
            self.kept.clear()

    def wait(self, done: Callable[[], bool], seconds: float, act: Callable[[], None] = lambda: None) -> bool:
        """Tend the processes, and ``act`` again and again, until something is done; false where it takes too long."""
        deadline = time.monotonic() + seconds
        while not asked(done, False):
            if time.monotonic() > deadline:
                return False
            for kept in self.kept:
                kept.tend()
            act()
            time.sleep(0.05)
        return True

    def ends_of_logs(self) -> str:
        """Return the last lines of all logs, for an error message."""
        return "\n".join(f"{path.name}:\n{tail(path)}" for path in sorted(self.folder.glob("*.log")))


def asked(question: Callable[[], Result], otherwise: Result) -> Result:
    """Ask the database; return ``otherwise`` where it does not answer just now."""
    try:
        return question()
    except DATABASE_OUTAGES:
        connection.close()
        return otherwise


@dataclass
class Moments:
    """Random moments, each some seconds after the one before it."""

    rng: random.Random
    shortest: float
    longest: float
    _next: float = 0.0

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Draw the next moment, counted from now."""
        self._next = time.monotonic() + self.rng.uniform(self.shortest, self.longest)

    def come(self) -> bool:
        """Whether the moment has come; then the next one is drawn."""
        if time.monotonic() < self._next:
            return False
        self.begin()
        return True
