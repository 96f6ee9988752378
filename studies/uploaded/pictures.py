"""Read a picture that somebody brings, and make of it what the store holds: 8-bit RGB in sRGB, upright, no metadata.

Whatever is changed or lost on the way is said in words.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from evenhand.errors import InputError, is_machine_fault
from evenhand.metrics.pictures import PictureError, file_sha256, has_sixteen_bits, is_one_coloured

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 2**26
READERS = 2  # threads
ORIENTATION = 0x0112  # of Exif
GREY = (128, 128, 128)  # of the edges of a picture that is fitted into another shape
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, ImageCms.PyCMSError)


@dataclass(frozen=True)
class Looks:
    """What is told of a file: its hash, its size in pixels as shown, what was changed; or why it is not taken."""

    sha256: str = ""
    width: int = 0
    height: int = 0
    notes: tuple[str, ...] = ()
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Looks:
        """Read what ``to_dict`` returned."""
        return cls(**values | {"notes": tuple(values["notes"])})


def look_at(path: Path) -> Looks:
    """Read a picture's file whole and tell what it is, or why it is not taken."""
    try:
        image, notes = opened(path)
        if is_one_coloured(np.asarray(image)):
            notes = (*notes, "is of one colour")
        return Looks(file_sha256(path), image.width, image.height, notes)
    except PictureError as error:
        return Looks(error=str(error))


def look_at_all(paths: Iterable[Path]) -> Iterator[Looks]:
    """Look at files in threads, and yield what they are in their order."""
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(look_at, paths)


def opened(path: Path) -> tuple[Image.Image, tuple[str, ...]]:
    """Return a picture as RGB in sRGB, upright, and what was changed of it. Raises ``PictureError``."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check(image)
            image.load()
            return _converted(image)
    except PictureError:
        raise
    except BROKEN as error:
        if is_machine_fault(error):
            raise
        text = " ".join(str(error).split()).replace(repr(str(path)), "the file")
        raise PictureError(f"is no readable PNG, JPEG or WebP picture ({text[:200]})") from error


def _check(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise PictureError(f"has {width}×{height} pixels, at most {MOST_PIXELS:,} are read")
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise PictureError("is an animation")
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK") or has_sixteen_bits(image):
        raise PictureError("has more than 8 bits a channel: bring it as 8 bits, so that you see what is lost")
    if image.mode == "CMYK" and not image.info.get("icc_profile"):
        raise PictureError("is CMYK without a colour profile: its colours would be a guess")


def _converted(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    notes = []
    profile = image.info.get("icc_profile")
    if image.getexif().get(ORIENTATION, 1) not in (0, 1):
        image = ImageOps.exif_transpose(image)
        notes.append("turned upright, as its metadata say")
    if image.mode in ("1", "L", "LA"):
        notes.append("greyscale")
    if image.mode == "CMYK":
        notes.append("CMYK, converted by its colour profile")
    if image.has_transparency_data:
        image, note = _without_alpha(image.convert("RGBA"))
        notes.append(note)
    if image.mode != "CMYK" and not (profile and image.mode == "L"):
        image = image.convert("RGB")
    if profile:
        image, note = _in_srgb(image, profile)
        notes += [note] if note else []
    return image.convert("RGB"), tuple(notes)


def _without_alpha(image: Image.Image) -> tuple[Image.Image, str]:
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB"), "an alpha channel without transparency, dropped"
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB"), "transparent parts laid on white"


def _in_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, str]:
    """Return a picture in sRGB. Raises ``PictureError`` for a profile that cannot be used."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(given).strip()
        if image.mode != "CMYK" and "srgb" in name.lower():
            return image.convert("RGB"), ""
        converted = ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise PictureError(f"has a colour profile that cannot be used ({error})") from error
    assert converted is not None  # it is not converted in place
    return converted, f"colours converted from “{name[:60]}” to sRGB"


def pixels_of(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return a picture's pixels, (H, W, 3); where a size (width, height) is given, fitted into it on mid-grey."""
    image, _ = opened(path)
    if size is not None and image.size != size:
        image = ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=GREY)
    return np.asarray(image, np.uint8)


class ChangedPictureError(InputError):
    """A file that is no longer the one that was looked at."""


def check_unchanged(path: Path, name: str, sha256: str) -> None:
    """Raise ``ChangedPictureError`` where a file is not the one that was looked at."""
    try:
        same = file_sha256(path) == sha256
    except FileNotFoundError:
        same = False
    if not same:
        raise ChangedPictureError(f"“{name}” changed after it was looked at; look at the pictures again")
