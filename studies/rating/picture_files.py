"""Serve the two pictures of a trial alike: in one format, and in files of one length.

The stored files keep their bytes and hashes. What is served is such a file and a chunk of zeros, which decoders skip:
so neither the length of a response nor its headers tell the two pictures of a trial apart.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from evenhand.studies.image_store import image_file, webp_file
from evenhand.studies.stores.base import StoredFile

PNG_TYPE, WEBP_TYPE = "image/png", "image/webp"
PNG_PADDING = b"paDd"  # by its letters' case: may be skipped, private, safe to copy (PNG, section 5.4)
WEBP_PADDING = b"PADD"
PNG_END = 12  # bytes of the last chunk
WEBP_CHUNK = 8  # bytes of a chunk's name and length


@dataclass(frozen=True)
class PictureFile:
    """What is served of a picture."""

    data: bytes
    content_type: str


def picture_file(sha256: str, beside: str, *, webp: bool) -> PictureFile:
    """Return the picture with this hash, as long as the one that stands beside it.

    webp: whether the browser reads WebP; it gets one where both pictures have one. Raises ``FileNotFoundError`` where
    the picture is not stored, ``ValueError`` for what is no hash.
    """
    if webp:
        try:
            length = webp_file(beside).size()
            data = webp_file(sha256).read_bytes()
            return PictureFile(padded_webp(data, max(length, len(data))), WEBP_TYPE)
        except FileNotFoundError:
            pass  # then both are PNG
    data = image_file(sha256).read_bytes()
    return PictureFile(padded_png(data, max(_size_or_0(image_file(beside)), len(data))), PNG_TYPE)


def padded_png(data: bytes, length: int) -> bytes:
    """Return a PNG of ``length`` and 12 bytes: with a chunk of zeros before its end. length: the data's at least."""
    body = PNG_PADDING + bytes(length - len(data))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:-PNG_END] + chunk + data[-PNG_END:]


def padded_webp(data: bytes, length: int) -> bytes:
    """Return a lossless WebP of ``length`` and 26 bytes: in the extended format, with a chunk of zeros at its end.

    data: in the simple format, as ``generation.images.smaller_webp`` writes it. length: even, the data's at least.
    """
    pixels = data[12:]
    (sides,) = struct.unpack("<I", pixels[WEBP_CHUNK + 1 : WEBP_CHUNK + 5])  # 14 bits each, less one
    width, height = sides & 0x3FFF, sides >> 14 & 0x3FFF
    extended = b"VP8X" + struct.pack("<II", 10, 0) + width.to_bytes(3, "little") + height.to_bytes(3, "little")
    zeros = bytes(length - len(data))
    body = b"WEBP" + extended + pixels + WEBP_PADDING + struct.pack("<I", len(zeros)) + zeros
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _size_or_0(file: StoredFile) -> int:
    """Return a file's bytes, 0 for one that is lost."""
    try:
        return file.size()
    except FileNotFoundError:
        return 0
