"""Encode pictures as PNG and lossless WebP, one by one or in threads, and decode them, with Pillow and numpy."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from evenhand.errors import InputError

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")

COMPRESSION = 3  # takes about a quarter of the default level's time at 512×512; files are a few per cent larger
WEBP_METHOD = 4  # 0 … 6; 6 takes four times as long and saves one per cent more


class ImageError(InputError):
    """Bytes or an array that are not a picture of the required kind; the message says what they are."""


def encode_png(array: NDArray[np.uint8]) -> bytes:
    """Encode a picture, uint8 (H, W, 3), as PNG bytes without metadata.

    Equal pixels give equal bytes with one Pillow build. Raises ImageError for another dtype or shape.
    """
    picture = np.asarray(array)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise ImageError(f"a picture must be uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG", compress_level=COMPRESSION)
    return buffer.getvalue()


def smaller_webp(png: bytes) -> bytes | None:
    """Encode a PNG's picture as lossless WebP; None where that is no smaller, or where WebP cannot hold it.

    The bytes returned have been decoded again and hold the same pixels. Raises ImageError for bytes that are no PNG.
    """
    pixels = decode_png(png)
    buffer = io.BytesIO()
    try:
        Image.fromarray(pixels).save(buffer, format="WEBP", lossless=True, exact=True, method=WEBP_METHOD)
    except (OSError, ValueError):  # a side beyond 16 383 pixels
        return None
    data = buffer.getvalue()
    with Image.open(io.BytesIO(data), formats=("WEBP",)) as image:
        equal = np.array_equal(np.array(image.convert("RGB")), pixels)
    return data if equal and len(data) < len(png) else None


class EncodingThreads(Generic[Key, Result]):
    """Encode pictures in threads while the next ones are generated; zlib releases Python's lock.

    use: called with a picture's PNG bytes, in the same thread. Leaving the context waits for all pictures.
    """

    def __init__(self, use: Callable[[bytes], Result]) -> None:
        self._use = use
        self._threads = ThreadPoolExecutor(min(16, os.cpu_count() or 1))
        self._futures: dict[Key, Future[Result]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def add(self, key: Key, picture: NDArray[np.uint8]) -> None:
        """Start encoding the picture; a later picture of the same key replaces it."""
        self._futures[key] = self._threads.submit(lambda: self._use(encode_png(picture)))

    def results(self) -> dict[Key, Result]:
        """Wait for all pictures and return what ``use`` returned for each. Raises the first picture's error, if any."""
        return {key: future.result() for key, future in self._futures.items()}


def png_versions() -> dict[str, str]:
    """Return the versions that a PNG's bytes depend on: Pillow, and the zlib that it was built with."""
    return {"pillow": PIL.__version__, "zlib": str(features.version("zlib"))}


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """Decode PNG bytes to a picture, uint8 (H, W, 3); other colour modes are converted to RGB.

    Raises ImageError where the bytes are no PNG or end early.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return np.array(image.convert("RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{len(data)} bytes that are not a readable PNG: {error}") from error


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of the bytes, 64 hex digits, under which a picture is stored."""
    return hashlib.sha256(data).hexdigest()
