"""Read pictures for metrics, and tell what is odd about them: nothing is left out or converted without being named."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evenhand.errors import InputError, is_machine_fault

T = TypeVar("T")
Pixels = NDArray[np.uint8]  # (H, W, 3)


@runtime_checkable
class File(Protocol):
    """A file wherever it lies: a path, or an object of a store. Opened in the mode ``rb``."""

    def open(self, mode: Literal["rb"], /) -> Any: ...


Picture = File | Pixels
CONVERTED = ("1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "La", "RGBa")  # what becomes RGB, by name
DEEP = re.compile(";16[BLN]")  # how decoders name 16 bits a channel; BMP's BGR;16 are 16 bits a pixel
READERS = 2  # threads
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")


class PictureError(InputError):
    """A picture cannot be used; the message says why."""


class NotFiniteError(PictureError):
    """A picture holds NaN or infinity."""


@dataclass(frozen=True)
class Framing:
    """How a picture is cut and scaled before a network's own resize.

    crop: ``none``, or ``centre`` for the largest centred square. side: pixels to scale to (Pillow's bicubic filter with
    antialiasing); None leaves the size.
    """

    crop: str = "none"
    side: int | None = None

    def __post_init__(self) -> None:
        if self.crop not in ("none", "centre"):
            raise PictureError(f"there is no crop {self.crop!r}; choose none or centre")
        if self.side is not None and (self.side < 1 or self.crop == "none"):
            raise PictureError("a side is at least 1 pixel, and needs the crop centre")

    def apply(self, pixels: Pixels) -> Pixels:
        """Return the framed picture."""
        if self.crop == "none":
            return pixels
        height, width = pixels.shape[:2]
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        square = pixels[top : top + short, left : left + short]
        if self.side is None or self.side == short:
            return square
        return np.asarray(Image.fromarray(square).resize((self.side, self.side), Image.Resampling.BICUBIC))


AS_IT_IS = Framing()


@dataclass(frozen=True)
class Looks:
    """What is told of a picture that was read: its size in pixels, Pillow's mode of the file, the number of frames."""

    width: int
    height: int
    mode: str
    frames: int
    one_coloured: bool


@dataclass
class Findings:
    """What was odd in a set of pictures. Names are kept for all, so that a report can list them.

    unreadable: left out, with the reason. not_finite: left out, since the picture or its features hold NaN or infinity.
    one_coloured: used, and named. several_frames: used with their first frame. converted: used, by Pillow's mode.
    sizes: pictures by (width, height).
    """

    unreadable: dict[str, str] = field(default_factory=dict)
    not_finite: list[str] = field(default_factory=list)
    one_coloured: list[str] = field(default_factory=list)
    several_frames: list[str] = field(default_factory=list)
    converted: dict[str, list[str]] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)

    @property
    def left_out(self) -> int:
        """Number of pictures that no metric uses."""
        return len(self.unreadable) + len(self.not_finite)

    def note(self, name: str, looks: Looks) -> None:
        """Record a picture that was read."""
        self.sizes[looks.width, looks.height] += 1
        if looks.mode != "RGB":
            self.converted.setdefault(looks.mode, []).append(name)
        if looks.frames > 1:
            self.several_frames.append(name)
        if looks.one_coloured:
            self.one_coloured.append(name)

    def leave_out(self, name: str, error: PictureError) -> None:
        """Record a picture that could not be read."""
        if isinstance(error, NotFiniteError):
            self.not_finite.append(name)
        else:
            self.unreadable[name] = str(error)

    def sentences(self, most: int = 5) -> list[str]:
        """Return a sentence for each kind of finding, which names at most ``most`` pictures."""
        told = []
        if self.unreadable:
            reasons = [f"{name} ({reason})" for name, reason in self.unreadable.items()]
            told.append(f"Left out, not readable: {_listed(reasons, most)}.")
        if self.not_finite:
            told.append(f"Left out, not finite: {_listed(self.not_finite, most)}.")
        if self.one_coloured:
            told.append(f"Of one colour only: {_listed(self.one_coloured, most)}.")
        if self.several_frames:
            told.append(f"The first of several frames used: {_listed(self.several_frames, most)}.")
        told += [f"Converted from {mode} to RGB: {_listed(names, most)}." for mode, names in self.converted.items()]
        if len(self.sizes) > 1:
            sizes = [f"{count} of {w}×{h}" for (w, h), count in self.sizes.most_common()]
            told.append(f"Different sizes: {_listed(sizes, most)}.")
        return told

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {"sizes": [[w, h, count] for (w, h), count in self.sizes.most_common()]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Findings:
        """Read what ``to_dict`` returned."""
        return cls(**values | {"sizes": Counter({(w, h): count for w, h, count in values["sizes"]})})


def _listed(names: Sequence[str], most: int) -> str:
    rest = len(names) - most
    return f"{len(names)}: {', '.join(names[:most])}" + (f" and {rest} more" if rest > 0 else "")


def is_one_coloured(pixels: Pixels) -> bool:
    """Whether all pixels are equal, as in a black picture that half precision gives for NaN."""
    return bool((pixels == pixels[:1, :1]).all())


def read_picture(picture: Picture) -> tuple[Pixels, Looks]:
    """Return a picture as RGB, and what there is to tell of it.

    Greyscale, palette and CMYK are converted, alpha is dropped, and of several frames the first is taken, as
    torch-fidelity, clean-fid and pytorch-fid do. Raises ``PictureError`` for what is no picture, is cut off, or has
    more than 8 bits a channel, and ``NotFiniteError`` for NaN and infinity.
    """
    if not isinstance(picture, File):
        pixels, mode, frames = _checked(np.asarray(picture)), "RGB", 1
    else:
        try:
            pixels, mode, frames = _read_file(picture)
        except PictureError:
            raise
        except (
            OSError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombError,
        ) as error:  # what Pillow's decoders raise
            if is_machine_fault(error):
                raise
            raise PictureError("is not there" if isinstance(error, FileNotFoundError) else str(error)) from error
    return pixels, Looks(pixels.shape[1], pixels.shape[0], mode, frames, is_one_coloured(pixels))


def _checked(array: NDArray[Any]) -> Pixels:
    _check_finite(array)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise PictureError(f"must be uint8 (H, W, 3), not {array.dtype} {array.shape}")
    return array


def _check_finite(array: NDArray[Any]) -> None:
    bad = int((~np.isfinite(array)).sum()) if array.dtype.kind == "f" else 0
    if bad:
        raise NotFiniteError(f"{bad} of {array.size} values are not finite")


def _read_file(file: File) -> tuple[Pixels, str, int]:
    with file.open("rb") as stream, Image.open(stream) as image:
        mode, frames = image.mode, getattr(image, "n_frames", 1)
        if mode == "F":
            _check_finite(np.asarray(image))
        if mode not in ("RGB", *CONVERTED) or has_sixteen_bits(image):
            raise PictureError(f"mode {mode}: more than 8 bits a channel, or no colours")
        return np.asarray(image.convert("RGB")), mode, frames


def has_sixteen_bits(image: Image.Image) -> bool:
    """Whether Pillow would cut 16 bits a channel to 8, of which its mode says nothing; its decoder's arguments do."""
    arguments = [tile.args if isinstance(tile.args, tuple) else (tile.args,) for tile in getattr(image, "tile", [])]
    return any(DEEP.search(str(each)) for several in arguments for each in several)


def read_ahead(
    pictures: Sequence[tuple[str, Picture]], read: Callable[[Picture], T], *, readers: int, ahead: int
) -> Iterator[tuple[str, Future[T]]]:
    """Read pictures in threads, and yield them in their order; at most ``ahead`` are in memory or waited for."""
    waiting: deque[tuple[str, Future[T]]] = deque()
    upcoming = iter(pictures)
    with ThreadPoolExecutor(max(1, readers)) as pool:
        for _ in pictures:
            while len(waiting) < ahead and (each := next(upcoming, None)) is not None:
                waiting.append((each[0], pool.submit(read, each[1])))
            yield waiting.popleft()


def survey(pictures: Sequence[tuple[str, Picture]], *, readers: int = READERS) -> Findings:
    """Tell what is odd about named pictures, without a network: each is read once, and only what it looks like is kept.

    For work that scores pictures: what is not finite, of one colour or unreadable is to be listed beside its scores.
    """
    findings = Findings()
    for name, future in read_ahead(pictures, lambda picture: read_picture(picture)[1], readers=readers, ahead=256):
        try:
            findings.note(name, future.result())
        except PictureError as error:
            findings.leave_out(name, error)
    return findings


def pictures_in(folder: Path) -> list[tuple[str, Path]]:
    """List a folder's pictures, with those of its folders, as (name, path) by name. ``PictureError`` if there is none.

    Whether a file is readable shows when it is read; files with another ending are no pictures.
    """
    if not folder.is_dir():
        raise PictureError(f"there is no folder {folder}")
    files = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not files:
        raise PictureError(f"{folder} holds no picture ({', '.join(SUFFIXES)})")
    return sorted((path.relative_to(folder).as_posix(), path) for path in files)


def manifest(pictures: Sequence[tuple[str, Picture]], framing: Framing) -> dict[str, Any]:
    """Return what a set is: name and SHA-256 of each file (of shape and pixels, for arrays), crop and side.

    Raises ``PictureError`` for no pictures, for two of one name, and for a file that cannot be opened.
    """
    files: dict[str, str] = {}
    for name, picture in pictures:
        if name in files:
            raise PictureError(f"two pictures are named {name}")
        files[name] = _sha256(name, picture)
    if not files:
        raise PictureError("there are no pictures")
    return {"files": files, "crop": framing.crop, "side": framing.side}


def _sha256(name: str, picture: Picture) -> str:
    if not isinstance(picture, File):
        return hashlib.sha256(f"{picture.dtype} {picture.shape}".encode() + picture.tobytes()).hexdigest()
    try:
        return file_sha256(picture)
    except OSError as error:
        if is_machine_fault(error):
            raise
        raise PictureError(f"{name} cannot be opened: {error.strerror}") from error


def file_sha256(path: File) -> str:
    """Return the SHA-256 of a file's bytes, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_sha256(content: dict[str, Any]) -> str:
    """Return the hash of a manifest as canonical JSON: the order of keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
