"""Bring folders, archives and tables together as one collection of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evenhand.studies.uploaded.names import TABLES, has_ending
from evenhand.studies.uploaded.sources import (
    ARCHIVES,
    Budget,
    File,
    Files,
    SourceError,
    files_of_folder,
    is_archive,
    joined,
    unpack,
)


def files_of(paths: Sequence[Path], folder: Path, names: Sequence[str] | None = None) -> Files:
    """Return the files of all paths; archives are unpacked into ``folder``, which the caller removes.

    names: what the paths are called, where they lie under other names. Several folders or archives are arms of these
    names; a single one has its arms in folders. Raises ``SourceError``.
    """
    given = list(zip(paths, names or [path.name for path in paths], strict=True))
    parts: list[tuple[str, Files]] = []
    tables = Files()
    for number, (path, name) in enumerate(given):
        if path.is_dir():
            parts.append((path.resolve().name, files_of_folder(path, Budget(name))))
        elif is_archive(name):
            parts.append((_stem(name), unpack(path, folder / str(number), Budget(name))))
        elif has_ending(name, TABLES):
            tables.files.append(File(name, path))
        else:
            missing = "" if path.exists() else ", and is not there"
            raise SourceError(f"{name}: is no folder, no archive ({', '.join(ARCHIVES)}) and no CSV file{missing}")
    twice = [name for at, (name, _) in enumerate(parts) if name in [each for each, _ in parts[:at]]]
    if twice:
        raise SourceError(f"two folders or archives are called “{twice[0]}”: their names are those of the arms")
    whole = parts[0][1] if len(parts) == 1 else joined(parts)
    whole.files += tables.files
    return whole


def _stem(name: str) -> str:
    ending = max((each for each in ARCHIVES if name.lower().endswith(each)), key=len)
    return name[: -len(ending)] or name
