"""Store pictures under the SHA-256 of their content, in the folder or the bucket that the settings name.

Beside a PNG there may lie a lossless WebP of the same pixels, for evaluators' browsers. It bears the PNG's hash: the
record names the PNG alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import PurePosixPath
from typing import cast

from django.core.files.storage import storages

from evenhand.studies.stores.base import Store, StoredFile

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[^/]+")
FEW = 200  # pictures, below which each is asked for instead of listing all


def store() -> Store:
    """Return the store of pictures that the settings name."""
    return cast(Store, storages["pictures"])


def _file(sha256: str, ending: str) -> StoredFile:
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"not a SHA-256: {sha256!r}")
    return StoredFile(store(), f"{sha256[:2]}/{sha256[2:4]}/{sha256}.{ending}")


def image_file(sha256: str) -> StoredFile:
    """Return the PNG with this hash, two levels of folders down, whether or not it is there."""
    return _file(sha256, "png")


def webp_file(sha256: str) -> StoredFile:
    """Return the WebP beside the PNG with this hash, whether or not there is one."""
    return _file(sha256, "webp")


def store_image(data: bytes) -> str:
    """Write an image under its hash and return the hash, once the bytes are stored.

    A file that is there is written again: its row follows soon, and ``doctor`` removes files without a row that are
    old. If it holds other bytes, they are kept beside it first, as ``.damaged``.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    file = image_file(sha256)
    if file.exists():
        _keep_damaged(sha256)
    file.write_bytes(data)
    return sha256


def store_picture(png: bytes) -> str:
    """Write a PNG as ``store_image`` does, and beside it a lossless WebP where that is smaller; return the hash."""
    sha256 = store_image(png)
    add_webp(sha256, png)
    return sha256


def add_webp(sha256: str, png: bytes) -> bool:
    """Write a WebP beside a stored PNG, unless it is there already or would be no smaller; return whether it is there.

    For workers and commands: encoding takes some 0.1 s a picture of 512×512.
    """
    from evenhand.generation.images import smaller_webp

    file = webp_file(sha256)
    if file.exists():
        return True
    data = smaller_webp(png)
    if data is not None:
        file.write_bytes(data)
    return data is not None


def is_intact(sha256: str) -> bool:
    """Whether the PNG holds the bytes of its name. Raises ``FileNotFoundError`` where it is not there."""
    return hashlib.sha256(image_file(sha256).read_bytes()).hexdigest() == sha256


def _keep_damaged(sha256: str) -> None:
    """Copy what lies under a PNG's name beside it, where it is not the bytes of its name."""
    with suppress(FileNotFoundError):  # removed meanwhile
        if not is_intact(sha256):
            _file(sha256, "damaged").write_bytes(image_file(sha256).read_bytes())


def missing(hashes: Iterable[str]) -> set[str]:
    """Return those of the hashes whose PNG is not there; of many, by one listing of the store."""
    wanted = set(hashes)
    if len(wanted) <= FEW:
        return {sha256 for sha256 in wanted if not image_file(sha256).exists()}
    return wanted - {hash_of(file) for file, _ in stored_files() if file.name.endswith(".png")}


def hash_of(file: StoredFile) -> str:
    """Return the hash under which a file of the store lies: its name without the ending."""
    return PurePosixPath(file.name).stem


def stored_files() -> Iterator[tuple[StoredFile, datetime]]:
    """Yield every file of the store with the time of its last change, PNG, WebP and what was left beside them."""
    found = store()
    for name, changed in found.files():
        if _NAME.fullmatch(name):
            yield StoredFile(found, name), changed
