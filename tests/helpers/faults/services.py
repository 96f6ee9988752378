"""Start PostgreSQL and Redis of one's own in a folder, so that they may be stopped, crashed and silenced.

Both listen on free ports of 127.0.0.1. PostgreSQL refuses to run as root: started by root, it runs as the user
``postgres`` or ``nobody``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from evenhand.studies.demonstration.processes import free_port, tail

STARTS_WITHIN = 60  # seconds


class MissingError(RuntimeError):
    """A program that is not installed; the message names it."""


def postgres_program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs. Raises ``MissingError``."""
    folders = []
    if config := shutil.which("pg_config"):
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(told.stdout.strip()))
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # where Debian keeps them
    found = next((folder / name for folder in folders if (folder / name).is_file()), None) or shutil.which(name)
    if not found:
        raise MissingError(f"PostgreSQL's program {name} is not installed")
    return str(found)


def redis_program() -> str:
    """Return the path of Redis' server. Raises ``MissingError``."""
    found = shutil.which("redis-server")
    if not found:
        raise MissingError("redis-server is not installed")
    return found


def as_somebody_else() -> dict[str, Any]:
    """Return what lets a process that root starts run as somebody without rights; empty for anybody else."""
    if os.geteuid():
        return {}
    names = {each.pw_name: each for each in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def children_of(process: int) -> list[int]:
    """Return the numbers of the processes that a process has started."""
    listed = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


class Service:
    """A server in a folder of its own. Use it as a context; ``stop`` and ``start`` may be called in between."""

    url = ""
    RESTART = signal.SIGTERM
    CRASH = signal.SIGKILL

    def __init__(self, folder: Path) -> None:
        """folder: an empty one, which others than its owner may enter."""
        self.folder = folder
        self.log = folder / "server.log"
        self.port = free_port(0)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.resume()
            self.stop(self.CRASH)

    def command(self) -> list[str]:
        """Return the server's command line."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it takes connections."""
        address = urlsplit(self.url)
        try:
            socket.create_connection((address.hostname or "", address.port or 0), timeout=2).close()
        except OSError:
            return False
        return True

    def start(self) -> None:
        """Start it, and return when it answers."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **as_somebody_else(),
            )
        deadline = time.monotonic() + STARTS_WITHIN
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{type(self).__name__} did not start:\n{tail(self.log)}")
            time.sleep(0.05)

    def _send(self, number: signal.Signals) -> None:
        """Send a signal to the server, and then to the processes that it has started."""
        assert self.process is not None
        self.process.send_signal(number)
        for child in children_of(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, number)

    def stop(self, how: signal.Signals) -> None:
        """End it by a signal, and return when it has ended."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(timeout=STARTS_WITHIN)
        self.process = None

    def restart(self, how: signal.Signals) -> None:
        """Stop it by a signal and start it again."""
        self.stop(how)
        self.start()

    def pause(self) -> None:
        """Let it accept connections and answer nothing, until ``resume``."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        self._send(signal.SIGCONT)

    def silence(self, seconds: float) -> None:
        """Let it answer nothing for a while."""
        self.pause()
        time.sleep(seconds)
        self.resume()


class Postgres(Service):
    """PostgreSQL with one database, ``evenhand``, for the user ``postgres``."""

    RESTART = signal.SIGINT  # ends connections, writes everything
    CRASH = signal.SIGQUIT  # ends at once, and recovers when it starts

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = folder / "data"
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/evenhand"

    def command(self) -> list[str]:
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": ""}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [postgres_program("postgres"), "-D", str(self.data), *options]

    def __enter__(self) -> Self:
        other = as_somebody_else()
        if other:
            os.chown(self.folder, other["user"], other["group"])
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"]
        initdb = [postgres_program("initdb"), "-D", str(self.data), *options]
        subprocess.run(initdb, cwd=self.folder, stdout=subprocess.DEVNULL, check=True, **other)
        self.start()
        createdb = [postgres_program("createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "evenhand"]
        subprocess.run(createdb, cwd=self.folder, check=True)
        return self

    def answers(self) -> bool:
        ready = [postgres_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def cut_connections(self) -> int:
        """End every connection to the database, as an administrator does; return how many there were."""
        query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'evenhand'"
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", "postgres"]
        ended = subprocess.run(
            [postgres_program("psql"), *address, "-A", "-t", "-c", query], capture_output=True, text=True, check=True
        )
        return int(ended.stdout)


class Redis(Service):
    """Redis without a file: a restart empties it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self.folder}
        return [redis_program(), *[word for name, value in options.items() for word in (f"--{name}", str(value))]]

    def __enter__(self) -> Self:
        other = as_somebody_else()
        if other:
            os.chown(self.folder, other["user"], other["group"])
        return super().__enter__()
