"""Hold a small disk that may be filled: a tmpfs whose size is changed. What does not fit ends with ENOSPC, as anywhere.

Root mounts it. Anybody else needs a user namespace of their own, which ``unshare`` makes where the system allows it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.helpers.faults.services import MissingError

LARGE = 4 * 1024**3  # bytes; a limit, and no memory in use
SLACK = 8 * 1024  # bytes that are left when the disk is full


def start_of_command() -> list[str]:
    """Return what starts a command where it may mount something; empty for root, and where nothing allows it."""
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if os.geteuid() == 0 or not shutil.which(namespace[0]):
        return []
    return namespace if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0 else []


class SmallDisk:
    """A tmpfs at an empty folder. Use it as a context; afterwards everything in it is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={LARGE}", "tmpfs", str(self.folder)]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise MissingError("a small file system cannot be mounted here") from error
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self) -> None:
        """Leave a few thousand bytes."""
        self._resize(shutil.disk_usage(self.folder).used + SLACK)

    def enlarge(self) -> None:
        """Let there be room again."""
        self._resize(LARGE)

    def _resize(self, size: int) -> None:
        options = f"remount,size={size}"
        subprocess.run(["mount", "-i", "-t", "tmpfs", "-o", options, "none", str(self.folder)], check=True)
