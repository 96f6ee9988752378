from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from evenhand.studies.uploaded.pictures import (
    ORIENTATION,
    ChangedPictureError,
    Looks,
    check_unchanged,
    look_at,
    pixels_of,
)
from tests.helpers.pictures import RED, encoded, noise, picture


def _file(folder: Path, data: bytes, name: str = "a.png") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_plain_pictures_are_taken_as_they_are(tmp_path: Path, kind: str) -> None:
    path = _file(tmp_path, picture(1, (40, 30), kind))
    look = look_at(path)
    assert (look.width, look.height, look.notes, look.error) == (40, 30, (), "")
    with Image.open(path) as image:
        assert np.array_equal(pixels_of(path), np.asarray(image.convert("RGB")))


def test_orientation_is_applied_and_told(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = _file(tmp_path, encoded(noise(1, (40, 30)), exif=exif))
    look = look_at(path)
    assert (look.width, look.height) == (30, 40)
    assert look.notes == ("turned upright, as its metadata say",)
    assert np.array_equal(pixels_of(path), np.rot90(np.asarray(noise(1, (40, 30))), -1))


def test_alpha_and_greyscale_are_told(tmp_path: Path) -> None:
    opaque = noise(1).convert("RGBA")
    assert look_at(_file(tmp_path, encoded(opaque))).notes == ("an alpha channel without transparency, dropped",)
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.paste(RED, (0, 0, 4, 8))
    path = _file(tmp_path, encoded(clear))
    assert look_at(path).notes == ("transparent parts laid on white",)
    assert (pixels_of(path)[:, 4:] == 255).all()
    assert look_at(_file(tmp_path, encoded(noise(1).convert("L")))).notes == ("greyscale",)
    assert look_at(_file(tmp_path, encoded(Image.new("RGB", (8, 8), RED)))).notes == ("is of one colour",)


def test_colour_profiles_are_converted(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert look_at(_file(tmp_path, encoded(noise(1), icc_profile=lab))).notes == ()
    look = look_at(_file(tmp_path, encoded(noise(1), icc_profile=b"no profile")))
    assert "colour profile that cannot be used" in look.error


@pytest.mark.parametrize(
    ("image", "kind", "reason"),
    [
        (Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 900), "PNG", "more than 8 bits"),
        (noise(1).convert("CMYK"), "JPEG", "CMYK without a colour profile"),
        (noise(1), "GIF", "no readable PNG, JPEG or WebP"),
    ],
)
def test_what_would_lose_something_unseen_is_refused(
    tmp_path: Path, image: Image.Image, kind: str, reason: str
) -> None:
    assert reason in look_at(_file(tmp_path, encoded(image, kind))).error


def test_sixteen_bits_of_colour_are_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(range(48)) for _ in range(8))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert "more than 8 bits" in look_at(_file(tmp_path, data)).error


def test_animations_are_refused(tmp_path: Path) -> None:
    data = encoded(noise(1), "WEBP", save_all=True, append_images=[noise(2)])
    assert look_at(_file(tmp_path, data)).error == "is an animation"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, kind: str) -> None:
    data = picture(1, (64, 64), kind)
    for length in (0, 4, 30, len(data) // 2):
        assert look_at(_file(tmp_path, data[:length])).error


def test_a_bomb_of_pixels_is_refused(tmp_path: Path) -> None:
    data = bytearray(picture(1, (8, 8)))
    header = struct.pack(">II", 60_000, 60_000) + bytes(data[24:29])
    data[16:29] = header
    data[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    assert look_at(_file(tmp_path, bytes(data))).error


def test_a_picture_is_fitted_on_grey(tmp_path: Path) -> None:
    path = _file(tmp_path, encoded(Image.new("RGB", (40, 20), RED)))
    pixels = pixels_of(path, (20, 20))
    assert pixels.shape == (20, 20, 3)
    assert (pixels[0] == 128).all()
    assert (pixels[10] == RED).all()


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    path = _file(tmp_path, picture(1))
    look = look_at(path)
    check_unchanged(path, "a.png", look.sha256)
    path.write_bytes(picture(2))
    with pytest.raises(ChangedPictureError, match=r"a\.png"):
        check_unchanged(path, "a.png", look.sha256)
    path.unlink()
    with pytest.raises(ChangedPictureError):
        check_unchanged(path, "a.png", look.sha256)


def test_looks_go_through_json(tmp_path: Path) -> None:
    look = look_at(_file(tmp_path, encoded(noise(1).convert("L"))))
    assert Looks.from_dict(look.to_dict()) == look
