"""Write a collected bundle as a folder or a zip file, or stream it, file by file in flat memory."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from django.utils.text import slugify

from evenhand.studies.bundle.collecting import Collected, Entry, ExportError, collect
from evenhand.studies.models import Study

BLOCK = 2**20
MADE_AT = (1980, 1, 1, 0, 0, 0)  # of every file in a zip: the bundle's own times stand in its records
Progress = Callable[[int, int], None]


class _Stream:
    """What ``ZipFile`` writes into: it collects bytes until they are taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Do nothing: the bytes are taken, not pushed."""

    def take(self) -> bytes:
        """Return and forget what was written since the last call."""
        data, self._parts = b"".join(self._parts), []
        return data


def folder_name(collected: Collected) -> str:
    """Return the name of the one folder in a bundle's zip file; it tells a bundle of a study from an anonymous one."""
    name = slugify(collected.study) or "study"
    return f"{name}-bundle{'-anonymous' if collected.anonymous else ''}"


def zip_chunks(collected: Collected, progress: Progress = lambda _done, _of: None) -> Iterator[bytes]:
    """Yield a zip file in chunks of about a megabyte. Pictures are stored, because PNG does not shrink any more.

    progress: called with the bytes written of all files so far, and how many there are. Raises ``ExportError`` for a
    picture that disappears meanwhile.
    """
    stream, top, done = _Stream(), folder_name(collected), 0
    with zipfile.ZipFile(stream, "w") as archive:  # type: ignore[call-overload]  # it needs no more than write and tell
        for entry in collected.entries:
            information = zipfile.ZipInfo(f"{top}/{entry.name}", MADE_AT)
            information.compress_type = zipfile.ZIP_STORED if entry.name.endswith(".png") else zipfile.ZIP_DEFLATED
            information.external_attr = 0o644 << 16
            information.file_size = entry.size
            with archive.open(information, "w") as target:
                for block in _blocks(entry):
                    target.write(block)
                    done += len(block)
                    yield stream.take()
            progress(done, collected.size)
    yield stream.take()


def _blocks(entry: Entry) -> Iterator[bytes]:
    try:
        with entry.path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block
    except FileNotFoundError as error:
        raise ExportError(f"{entry.name} disappeared from the store: {entry.path}") from error


def export(study: Study, target: Path, *, anonymous: bool = False, progress: Progress | None = None) -> Collected:
    """Write a study's bundle to a new folder, or to a new zip file where the name ends in ``.zip``.

    The target appears whole or not at all. Raises ``ExportError``, also for a target that is there already.
    """
    if os.path.lexists(target):
        raise ExportError(f"{target} is there already, and is not overwritten")
    if not target.absolute().parent.is_dir():
        raise ExportError(f"there is no folder {target.absolute().parent}")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.absolute().parent) as scratch:
        records, partial = Path(scratch) / "records", Path(scratch) / "bundle"
        records.mkdir()
        collected = collect(study, records, anonymous=anonymous, progress=progress)
        if target.suffix.lower() == ".zip":
            with partial.open("wb") as file:
                file.writelines(zip_chunks(collected))
        else:
            _write_folder(collected, partial)
        os.rename(partial, target)
    return collected


def _write_folder(collected: Collected, folder: Path) -> None:
    for entry in collected.entries:
        path = folder / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(_blocks(entry))


class Download:
    """A bundle to be streamed: collected before the first chunk, its records deleted after the last one.

    largest: bytes, unpacked. Raises ``ExportError``, also for a larger bundle.
    """

    def __init__(self, study: Study, *, anonymous: bool, largest: int) -> None:
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="evenhand-bundle-"))
        try:
            self.collected = collect(study, Path(folder), anonymous=anonymous)
            if self.collected.size > largest:
                raise ExportError(
                    f"the bundle has {self.collected.size:,} bytes, and {largest:,} are the most that are sent from "
                    f"here: write it with “manage.py export_bundle {study.pk} --to FILE.zip”"
                )
        except BaseException:
            self._stack.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from (chunk for chunk in zip_chunks(self.collected) if chunk)
        finally:
            self.close()

    def close(self) -> None:
        """Delete the records; for a download that is given up before its first chunk."""
        self._stack.close()
