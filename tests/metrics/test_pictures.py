"""Pictures that are no good, or not what they seem: each is refused or named."""

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evenhand.metrics.pictures import (
    Findings,
    NotFiniteError,
    PictureError,
    is_one_coloured,
    pictures_in,
    read_ahead,
    read_picture,
    survey,
)
from tests.helpers.embedders import picture


def write_png_of_sixteen_bits(path: Path) -> None:
    """Colours of 16 bits a channel, which Pillow reads but does not write."""
    values = np.random.default_rng(0).integers(0, 65536, (4, 12)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_a_survey_names_what_a_stage_must_not_score_silently(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(picture(i)).save(tmp_path / f"good-{i}.png")
    Image.new("RGB", (5, 6)).save(tmp_path / "black.png")
    Image.new("RGB", (5, 6), (200, 10, 10)).save(tmp_path / "red.jpg")
    Image.fromarray(np.array([[1.0, np.nan], [np.inf, 0.0]], np.float32)).save(tmp_path / "nan.tiff")
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "floats.tiff")
    whole = (tmp_path / "good-0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(picture(3, 64, 64)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    found = survey(pictures_in(tmp_path))
    assert found.one_coloured == ["black.png", "red.jpg"]
    assert found.not_finite == ["nan.tiff"]
    assert sorted(found.unreadable) == ["cut.jpg", "cut.png", "floats.tiff"]
    assert found.left_out == 4
    assert sum(found.sizes.values()) == 6
    told = " ".join(found.sentences())
    assert "Left out, not finite: 1: nan.tiff." in told
    assert "Of one colour only: 2: black.png, red.jpg." in told


def test_arrays_are_surveyed_too() -> None:
    arrays = [
        ("good", picture(0)),
        ("flat", np.full((4, 4, 3), 7, np.uint8)),
        ("nan", np.full((4, 4, 3), np.nan)),
        ("infinite", np.array([[[0.0, 1.0, -np.inf]]], np.float16)),
        ("floats", np.zeros((4, 4, 3))),
        ("grey", np.zeros((4, 4), np.uint8)),
    ]
    found = survey(arrays, readers=1)
    assert (found.one_coloured, found.not_finite) == (["flat"], ["nan", "infinite"])
    assert found.unreadable == {
        "floats": "must be uint8 (H, W, 3), not float64 (4, 4, 3)",
        "grey": "must be uint8 (H, W, 3), not uint8 (4, 4)",
    }
    assert survey([]) == Findings()
    assert survey(arrays[:1]).sentences() == []
    with pytest.raises(NotFiniteError, match="48 of 48 values are not finite"):
        read_picture(arrays[2][1])


def test_more_than_eight_bits_are_refused_whatever_pillow_calls_them(tmp_path: Path) -> None:
    write_png_of_sixteen_bits(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as image:
        assert image.mode == "RGB"  # it would be cut to 8 bits
    with pytest.raises(PictureError, match="mode RGB: more than 8 bits a channel"):
        read_picture(tmp_path / "deep.png")


@pytest.mark.parametrize("suffix", ["gif", "webp", "tiff", "png"])
def test_of_several_frames_the_first_is_used_and_named(tmp_path: Path, suffix: str) -> None:
    first, second = (Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (40, 200))
    first.save(tmp_path / f"moving.{suffix}", save_all=True, append_images=[second])
    pixels, looks = read_picture(tmp_path / f"moving.{suffix}")
    assert (pixels == 40).all()
    assert looks.frames == 2
    assert survey(pictures_in(tmp_path)).several_frames == [f"moving.{suffix}"]
    assert f"The first of several frames used: 1: moving.{suffix}." in survey(pictures_in(tmp_path)).sentences()


def test_findings_are_read_as_they_were_written(tmp_path: Path) -> None:
    Image.fromarray(picture(0)).convert("L").save(tmp_path / "a.png")
    Image.fromarray(picture(0, 3, 4)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"")
    found = survey(pictures_in(tmp_path))
    assert Findings.from_dict(found.to_dict()) == found
    assert found.sizes == {(5, 6): 1, (4, 3): 1}
    assert found.converted == {"L": ["a.png"]}


def test_one_coloured_is_every_pixel() -> None:
    assert is_one_coloured(np.full((4, 4, 3), 7, np.uint8))
    almost = np.full((4, 4, 3), 7, np.uint8)
    almost[3, 3, 2] = 8
    assert not is_one_coloured(almost)


def test_few_are_read_ahead() -> None:
    """However slow the reader of the pictures is, no more than asked are in memory."""
    started, lock = [], threading.Lock()

    def read(each: object) -> int:
        with lock:
            started.append(each)
        return len(started)

    pictures = [(str(i), picture(i)) for i in range(20)]
    for place, (name, future) in enumerate(read_ahead(pictures, read, readers=2, ahead=3)):
        assert name == str(place)
        assert future.result() >= 1
        assert len(started) <= place + 3
    assert len(started) == 20
