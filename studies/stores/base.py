"""Say what a store of files offers beside Django's own storage methods, and name a file in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from django.core.files.base import ContentFile, File


class Store(Protocol):
    """A Django storage that also lists what it holds. ``save`` writes a file whole or not at all, and overwrites.

    Every method raises ``OSError`` where the store does not answer or refuses; ``open``, ``size`` and
    ``get_modified_time`` raise ``FileNotFoundError`` for a name that is not there.
    """

    def exists(self, name: str) -> bool: ...
    def size(self, name: str) -> int: ...
    def open(self, name: str, mode: str = "rb") -> File: ...
    def save(self, name: str, content: File) -> str: ...
    def delete(self, name: str) -> None: ...
    def get_modified_time(self, name: str) -> datetime: ...

    def files(self) -> Iterator[tuple[str, datetime]]:
        """Yield name and time of last change of every file."""

    def place(self, name: str = "") -> str:
        """Say where a file lies, or the store itself, for messages."""

    def free(self) -> int | None:
        """Return the bytes that are free, None where the store has no such limit."""


@dataclass(frozen=True)
class StoredFile:
    """A name in a store, whether or not a file is there."""

    store: Store
    name: str

    def __str__(self) -> str:
        return self.store.place(self.name)

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.store.exists(self.name)

    def size(self) -> int:
        """Return its bytes. Raises ``FileNotFoundError``."""
        return self.store.size(self.name)

    def changed(self) -> datetime:
        """Return when it was written last. Raises ``FileNotFoundError``."""
        return self.store.get_modified_time(self.name)

    def open(self, mode: str = "rb") -> File:
        """Open it for reading. Raises ``FileNotFoundError``."""
        return self.store.open(self.name, mode)

    def read_bytes(self) -> bytes:
        """Return its content. Raises ``FileNotFoundError``."""
        with self.open() as file:
            return file.read()

    def write_bytes(self, data: bytes) -> None:
        """Write it whole or not at all; when this returns, the bytes are stored."""
        self.store.save(self.name, ContentFile(data))

    def delete(self) -> None:
        """Remove it, where it is there."""
        self.store.delete(self.name)
