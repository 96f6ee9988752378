"""Copy pictures between a folder and the store in use, with their hashes verified on the way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from evenhand.studies import image_store
from evenhand.studies.stores.base import StoredFile

ENDINGS = (".png", ".webp")
THREADS = min(16, 4 * (os.cpu_count() or 1))  # copying to a bucket mostly waits
Progress = Callable[[int, int], None]


@dataclass
class Copied:
    """What ``take_in`` did: files written, files that were there already, and by name what could not be taken."""

    written: int = 0
    there: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the pictures of a folder and of its folders."""
    return (path for path in folder.rglob("*") if path.suffix in ENDINGS)


def is_intact(path: Path) -> bool:
    """Tell whether a PNG has the hash of its name; a WebP bears the PNG's, and can be made again."""
    if path.suffix == ".webp":
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == path.stem


def write_out(folder: Path) -> int:
    """Write every picture of the store into a folder, under the store's names; return how many files."""

    def write(file: StoredFile) -> None:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.read_bytes())

    files = [file for file, _ in image_store.stored_files() if file.name.endswith(ENDINGS)]
    with ThreadPoolExecutor(THREADS) as threads:
        return sum(1 for _ in threads.map(write, files))


def take_in(folder: Path, progress: Progress = lambda _done, _of: None) -> Copied:
    """Copy a folder's pictures into the store, read each back, and compare it with the file.

    A PNG whose bytes are not those of its name is refused, and so is a file under whose name the store holds other
    bytes. progress: called with the files looked at so far and all of them. Raises ``OSError`` where the store does not
    answer; a second run goes on.
    """
    copied, paths = Copied(), sorted(files_in(folder))
    with ThreadPoolExecutor(THREADS) as threads:
        for count, (path, said) in enumerate(zip(paths, threads.map(_take, paths), strict=True), start=1):
            if said == "written":
                copied.written += 1
            elif said == "there":
                copied.there += 1
            else:
                copied.refused[path.name] = said
            progress(count, len(paths))
    return copied


def _take(path: Path) -> str:
    """Copy one file; return ``written``, ``there``, or why not."""
    if not is_intact(path):
        return "its bytes are not those of its name"
    try:
        file = image_store.webp_file(path.stem) if path.suffix == ".webp" else image_store.image_file(path.stem)
    except ValueError as error:
        return str(error)
    data, said = path.read_bytes(), "there"
    if not file.exists():
        file.write_bytes(data)
        said = "written"
    return said if file.read_bytes() == data else f"{file} holds other bytes"
