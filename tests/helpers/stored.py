"""Where a test's pictures lie: in the folder MEDIA_ROOT."""

from __future__ import annotations

from pathlib import Path

from evenhand.studies.image_store import image_file, webp_file


def image_path(sha256: str) -> Path:
    """Return the path of the PNG with this hash."""
    return Path(str(image_file(sha256)))


def webp_path(sha256: str) -> Path:
    """Return the path of the WebP beside it."""
    return Path(str(webp_file(sha256)))
