"""Read the names of files in archives and folders, and refuse those that lead out of them.

Nothing is ever written under such a name: it tells an admin which file is meant, and matches it to a prompt.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from evenhand.errors import InputError

NAME_LIMIT = 1000  # characters of a whole name
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
TABLES = (".csv", ".tsv")
_DRIVE = re.compile(r"^[A-Za-z]:")


class UnsafeNameError(InputError):
    """A file's name that is not taken; the message says which and why."""


def safe_name(name: str) -> str:
    """Return a file's name below its folder, with slashes, in Unicode's composed form.

    Raises ``UnsafeNameError`` for one that is empty, absolute, has a drive, ``..``, a control character or a
    lone surrogate.
    """
    shown = ascii(name[:80])
    if len(name) > NAME_LIMIT:
        raise UnsafeNameError(f"the name {shown}… has {len(name):,} characters, at most {NAME_LIMIT:,} are read")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise UnsafeNameError(f"the name {shown} holds a control character or is no Unicode")
    slashed = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = [part for part in PurePosixPath(slashed).parts if part != "."]
    if slashed.startswith("/") or any(_DRIVE.match(part) for part in parts):
        raise UnsafeNameError(f"the name {shown} is absolute: names lie below the folder")
    if ".." in parts:
        raise UnsafeNameError(f"the name {shown} leads out of the folder")
    if not parts:
        raise UnsafeNameError(f"the name {shown} is empty")
    return "/".join(parts)


def is_hidden(name: str) -> bool:
    """Whether systems put the file there by themselves: hidden files, macOS's and Windows' own."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1].lower() in (
        "thumbs.db",
        "desktop.ini",
    )


def has_ending(name: str, endings: tuple[str, ...]) -> bool:
    """Whether a name ends so, whatever its case."""
    return name.lower().endswith(endings)
