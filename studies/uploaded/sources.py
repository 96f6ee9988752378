"""List the files of folders, and unpack archives (ZIP, TAR) within limits, under numbers instead of names."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from evenhand.errors import InputError, is_machine_fault
from evenhand.sampling.containers import check_zip_directory
from evenhand.sampling.reading import PromptFileError
from evenhand.studies.uploaded.names import UnsafeNameError, is_hidden, safe_name

ENTRY_LIMIT = 50_000  # files of one source
FILE_LIMIT = 2**27  # bytes of one file
ARCHIVE_LIMIT = 4 * 10**9  # bytes of a ZIP archive
TOTAL_LIMIT = 20 * 10**9  # bytes of all files of one source, unpacked
RATIO_LIMIT = 200  # unpacked bytes for a packed one, of a file that is large: no picture packs so well
RATIO_FROM = 10_000_000  # bytes
CHUNK = 2**20
TAR_READ_LIMIT = 2**22  # bytes that a TAR archive's own headers may ask for at once
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
BROKEN = (
    OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, NotImplementedError,
    RuntimeError, ValueError, OverflowError,
)  # fmt: skip


class SourceError(InputError):
    """A folder or an archive that is not taken as a whole; the message says why."""


@dataclass(frozen=True)
class File:
    """A file: its name below the source, and where its bytes lie."""

    name: str
    path: Path


@dataclass
class Files:
    """What a source holds: files, those that are refused with the reason, and how many hidden ones were passed over."""

    files: list[File] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    hidden: int = 0


@dataclass
class Budget:
    """Bytes and files that may still be unpacked."""

    source: str  # as messages name it
    bytes: int = TOTAL_LIMIT
    files: int = ENTRY_LIMIT

    def error(self, text: str) -> SourceError:
        """Return an error that names the source."""
        return SourceError(f"{self.source}: {text}")

    def spend_file(self) -> None:
        """Count a file. Raises ``SourceError`` where there are too many."""
        self.files -= 1
        if self.files < 0:
            raise self.error("holds more files than are read")

    def spend(self, size: int) -> None:
        """Count bytes. Raises ``SourceError`` where there are too many."""
        self.bytes -= size
        if self.bytes < 0:
            raise self.error("unpacks to more bytes than are read")


# ------------------------------------------------------------------------------ folders


def allowed_folder(text: str) -> Path:
    """Return a folder that lies below one of ``EVENHAND_IMPORT_ROOTS``, links resolved. Raises ``SourceError``."""
    roots = [Path(root).resolve() for root in settings.IMPORT_ROOTS]
    if not roots:
        raise SourceError("no folder of this server may be read here: EVENHAND_IMPORT_ROOTS names none")
    if "\0" in text or not Path(text).is_absolute():
        raise SourceError("give the folder's whole path")
    folder = Path(text).resolve()
    if not any(folder.is_relative_to(root) for root in roots):
        raise SourceError("the folder lies below none of the folders that EVENHAND_IMPORT_ROOTS names")
    if not folder.is_dir():
        raise SourceError("there is no such folder")
    return folder


def files_of_folder(folder: Path, budget: Budget | None = None) -> Files:
    """List the files of a folder and of those in it. No link is followed: what a link leads to is refused by name."""
    budget = budget or Budget(folder.name)
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}")
    found = Files()
    for base, folders, names in os.walk(folder):
        folders.sort()
        links = [name for name in folders if (Path(base) / name).is_symlink()]
        for name in sorted([*names, *links]):
            path = Path(base) / name
            budget.spend_file()
            _add(found, path.relative_to(folder).as_posix(), path, _not_plain(path))
    return found


def _not_plain(path: Path) -> str:
    if path.is_symlink():
        return "is a link, which is not followed"
    if not path.is_file():
        return "is no plain file"
    return _too_large(path.stat().st_size)


def _too_large(size: int) -> str:
    return f"has {size:,} bytes, at most {FILE_LIMIT:,} are read" if size > FILE_LIMIT else ""


def _add(found: Files, name: str, path: Path, problem: str) -> bool:
    """Add a file, or the reason why it is refused; return whether it was added."""
    try:
        safe = safe_name(name)
    except UnsafeNameError as error:
        found.refused[ascii(name[:80])] = str(error)
        return False
    if is_hidden(safe):
        found.hidden += 1
    elif problem:
        found.refused[safe] = problem
    else:
        found.files.append(File(safe, path))
        return True
    return False


# ------------------------------------------------------------------------------ archives


def is_archive(name: str) -> bool:
    """Whether a file's name is that of an archive which can be read."""
    return name.lower().endswith(ARCHIVES)


def unpack(archive: Path, folder: Path, budget: Budget | None = None) -> Files:
    """Unpack an archive's files into a folder, under numbers.

    Raises ``SourceError`` for what is no archive or damaged, is encrypted, holds names that lead out of it, links or
    devices, or is larger unpacked than ``budget`` allows. The caller removes the folder, whatever happens.
    """
    budget = budget or Budget(archive.name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        kind = _unzip if zipfile.is_zipfile(archive) else _untar
        found = kind(archive, folder, budget)
    except PromptFileError as error:
        raise SourceError(str(error).replace(str(archive), budget.source)) from error
    except SourceError:
        raise
    except BROKEN as error:
        if is_machine_fault(error):
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}".replace(str(archive), budget.source)
        raise budget.error(f"is no archive that can be read ({reason[:200]})") from error
    if found.refused:
        name, reason = next(iter(found.refused.items()))
        raise budget.error(f"“{name}” {reason}; nothing of the archive is taken")
    return found


def _unzip(archive: Path, folder: Path, budget: Budget) -> Files:
    check_zip_directory(archive, "a ZIP archive", ARCHIVE_LIMIT)
    found = Files()
    with zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
        if not all(each.filename for each in entries):
            raise budget.error("holds a file without a name")
        members = [each for each in entries if not each.is_dir()]
        names = [each.filename for each in members]
        if len(set(names)) < len(names):
            raise budget.error("holds two files of one name")
        for number, member in enumerate(members):
            budget.spend_file()
            path = folder / f"{number:06d}"
            if _add(found, member.filename, path, _zip_problem(member)):
                with opened.open(member) as stream:
                    _copy(stream, path, budget)
            elif found.refused:
                return found
    return found


def _zip_problem(member: zipfile.ZipInfo) -> str:
    if member.flag_bits & 1:
        return "is encrypted"
    kind = (member.external_attr >> 16) & 0o170000
    if kind not in (0, 0o100000):
        return "is a link or a device"
    if member.file_size > RATIO_FROM and member.file_size > RATIO_LIMIT * max(1, member.compress_size):
        return f"would unpack {member.compress_size:,} bytes to {member.file_size:,}"
    return _too_large(member.file_size)


def _untar(archive: Path, folder: Path, budget: Budget) -> Files:
    found = Files()
    seen: set[str] = set()
    with _decompressed(archive) as raw, tarfile.open(fileobj=_Bounded(raw, budget), mode="r:") as opened:
        for number, member in enumerate(_members(opened)):
            budget.spend_file()
            if member.isdir():
                continue
            path = folder / f"{number:06d}"
            if member.name in seen:
                raise budget.error("holds two files of one name")
            seen.add(member.name)
            problem = _too_large(member.size) if member.isreg() and not member.issparse() else "is a link or a device"
            if _add(found, member.name, path, problem):
                stream = opened.extractfile(member)
                assert stream is not None  # it is a plain file
                with stream:
                    _copy(stream, path, budget)
            elif found.refused:
                return found
    return found


def _members(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := opened.next()) is not None:
        yield member
        opened.members = []  # type: ignore[attr-defined]  # else tarfile keeps them all


def _decompressed(archive: Path) -> Any:
    with archive.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(archive)
    if head.startswith(b"BZh"):
        return bz2.open(archive)
    if head.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(archive)
    return archive.open("rb")


class _Bounded:
    """A stream that gives no more bytes than a limit, and never many at once, whatever headers ask for."""

    def __init__(self, stream: IO[bytes], budget: Budget) -> None:
        self.stream, self.budget, self.limit = stream, budget, budget.bytes

    def read(self, size: int = -1) -> bytes:
        """Read at most ``size`` bytes. Raises ``SourceError`` beyond the limits."""
        if size < 0 or size > TAR_READ_LIMIT:
            raise self.budget.error(f"has a header of {size:,} bytes")
        data = self.stream.read(size)
        self._check(self.stream.tell())
        return data

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place. Raises ``SourceError`` beyond the limit."""
        self._check(place if whence == os.SEEK_SET else 0)
        return self.stream.seek(place, whence)

    def tell(self) -> int:
        """Return the place in the unpacked stream."""
        return self.stream.tell()

    def _check(self, place: int) -> None:
        if place > self.limit:
            raise self.budget.error("unpacks to more bytes than are read")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _copy(stream: IO[bytes], path: Path, budget: Budget) -> None:
    """Write a file; its own length is counted, since an archive's list may lie."""
    size = 0
    with path.open("wb") as file:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            budget.spend(len(chunk))
            if size > FILE_LIMIT:
                raise budget.error(f"a file unpacks to more than {FILE_LIMIT:,} bytes")
            file.write(chunk)


def joined(parts: Iterable[tuple[str, Files]]) -> Files:
    """Join several sources into one, each below its own name."""
    whole = Files()
    for name, found in parts:
        whole.files += [File(f"{name}/{each.name}", each.path) for each in found.files]
        whole.refused |= {f"{name}/{each}": reason for each, reason in found.refused.items()}
        whole.hidden += found.hidden
    return whole
