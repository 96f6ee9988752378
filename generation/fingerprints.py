"""Fingerprint a checkpoint's exact content, from a folder or the hub's cache; without torch, for the web side too."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from evenhand.errors import InputError

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class CheckpointError(InputError):
    """A checkpoint that cannot be used; the message names it and what is wrong or missing."""


def checkpoint_fingerprint(name_or_path: str | Path) -> str:
    """Return a fingerprint of a checkpoint's exact content.

    For a folder SHA-256 (64 hex digits) over the sorted lines ``<sha256 of the file> <relative name>`` of its files,
    hidden ones left out. For a hub id the commit (40 hex digits) that is in the local cache and that loading uses.
    Raises CheckpointError where there is neither.
    """
    folder = Path(name_or_path)
    if folder.is_dir():
        return _folder_fingerprint(folder)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    name = str(name_or_path)
    try:
        index_file = try_to_load_from_cache(name, "model_index.json") if HUB_ID.fullmatch(name) else None
    except HFValidationError as error:
        raise CheckpointError(f"checkpoint {name} is neither a folder nor a hub id: {error}") from error
    if not isinstance(index_file, str):
        raise CheckpointError(f"checkpoint {name} is neither a folder nor a hub id in the local cache")
    return Path(index_file).parent.name  # …/snapshots/<commit>/model_index.json


def _folder_fingerprint(folder: Path) -> str:
    lines = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            with path.open("rb") as file:
                lines.append((relative.as_posix(), hashlib.file_digest(file, "sha256").hexdigest()))
    if not lines:
        raise CheckpointError(f"checkpoint folder {folder} holds no files")
    return hashlib.sha256("".join(f"{digest} {name}\n" for name, digest in sorted(lines)).encode()).hexdigest()
