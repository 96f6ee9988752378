"""Store image files under the SHA-256 of their content.

Beside a PNG there may lie a lossless WebP of the same pixels, for evaluators' browsers. It bears the PNG's hash: the
record names the PNG alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

from django.conf import settings

_SHA256 = re.compile(r"[0-9a-f]{64}")


def image_path(sha256: str) -> Path:
    """Return the path of the image with this hash, two levels of folders down."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"not a SHA-256: {sha256!r}")
    return Path(settings.MEDIA_ROOT) / sha256[:2] / sha256[2:4] / f"{sha256}.png"


def webp_path(sha256: str) -> Path:
    """Return the path of the WebP beside the PNG with this hash, whether or not there is one."""
    return image_path(sha256).with_suffix(".webp")


def store_image(data: bytes) -> str:
    """Write an image under its hash and return the hash, after the bytes have been synced to the disk."""
    sha256 = hashlib.sha256(data).hexdigest()
    path = image_path(sha256)
    if not path.exists():
        _write(path, data)
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

    path = webp_path(sha256)
    if path.exists():
        return True
    data = smaller_webp(png)
    if data is not None:
        _write(path, data)
    return data is not None


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and sync it to the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
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
