"""Make pictures and archives of them, as people bring them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RED, GREEN, BLUE = (200, 40, 40), (40, 200, 40), (40, 40, 200)


def noise(seed: int, size: tuple[int, int] = (48, 48)) -> Image.Image:
    """A picture of smooth noise, (width, height) pixels, another one for each seed."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return a picture's file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(seed: int, size: tuple[int, int] = (48, 48), kind: str = "PNG", **options: Any) -> bytes:
    """Return the file of a picture of noise."""
    return encoded(noise(seed, size), kind, **options)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a ZIP archive's bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a folder, with the folders that their names ask for."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def two_arms(count: int, arms: Sequence[str] = ("apple", "berry"), **options: Any) -> dict[str, bytes]:
    """Return files of arms in folders, numbered from 0."""
    return {
        f"{arm}/{number:04d}.png": picture(1000 * place + number, **options)
        for place, arm in enumerate(arms)
        for number in range(count)
    }


def pairs_table(count: int, arms: Sequence[str] = ("apple", "berry")) -> bytes:
    """Return a table of pairs of the files of ``two_arms``."""
    lines = [f"a thing of kind {n},{arms[0]}/{n:04d}.png,{arms[1]}/{n:04d}.png" for n in range(count)]
    return "\n".join(["prompt,first,second", *lines]).encode()
