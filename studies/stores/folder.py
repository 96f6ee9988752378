"""Keep files in a folder of this machine, each written whole or not at all and synced to the disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import FileSystemStorage


class SyncedFolder(FileSystemStorage):
    """The folder ``MEDIA_ROOT``. A file that is saved survives a power cut from then on."""

    def __init__(self) -> None:
        super().__init__(allow_overwrite=True)

    @property
    def base_location(self) -> str:
        """The folder, as the settings name it now."""
        return str(settings.MEDIA_ROOT)

    @property
    def location(self) -> str:
        """Its absolute path."""
        return os.path.abspath(self.base_location)

    def _save(self, name: str, content: Any) -> str:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename itself must survive a power cut
        finally:
            os.close(folder)
        return name

    def files(self) -> Iterator[tuple[str, datetime]]:
        """Yield name and time of last change of every file."""
        root = Path(self.location)
        for path in root.rglob("*"):
            try:
                if path.is_file():
                    yield path.relative_to(root).as_posix(), datetime.fromtimestamp(path.stat().st_mtime, UTC)
            except FileNotFoundError:  # removed meanwhile
                continue

    def place(self, name: str = "") -> str:
        """Return the path of a file, or of the folder."""
        return self.path(name) if name else self.location

    def free(self) -> int:
        """Return the bytes that are free on the folder's disk."""
        return shutil.disk_usage(self.location).free
