"""Features of many pictures: every file is used or named, and neighbours change nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evenhand.metrics.extraction import extract
from evenhand.metrics.pictures import (
    AS_IT_IS,
    Framing,
    PictureError,
    pictures_in,
    read_picture,
)
from tests.helpers.embedders import Means, picture


def folder_of_everything(folder: Path) -> Path:
    """Good pictures, and one of each kind that needs a word."""
    folder.mkdir()
    for i in range(5):
        Image.fromarray(picture(i)).save(folder / f"good-{i}.png")
    image = Image.fromarray(picture(9))
    image.convert("L").save(folder / "grey.png")
    image.convert("CMYK").save(folder / "print.jpg")
    image.convert("RGBA").save(folder / "alpha.png")
    image.convert("P").save(folder / "palette.png")
    Image.fromarray(picture(10, 9, 4)).save(folder / "other-size.png")
    Image.new("RGB", (5, 6)).save(folder / "black.png")
    Image.new("RGB", (5, 6), (13, 0, 0)).save(folder / "spoilt.png")
    Image.fromarray(picture(3).astype(np.uint16)[..., 0] * 200).save(folder / "sixteen-bits.png")
    (folder / "corrupt.png").write_bytes(b"no picture at all")
    data = (folder / "good-0.png").read_bytes()
    (folder / "truncated.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_every_picture_is_used_or_named(tmp_path: Path) -> None:
    listed = pictures_in(folder_of_everything(tmp_path / "all"))
    assert len(listed) == 16
    found = extract(listed, Means(), tmp_path / "features", batch_size=4)
    findings = found.findings
    assert set(findings.unreadable) == {"corrupt.png", "truncated.png", "empty.jpg", "sixteen-bits.png"}
    assert findings.not_finite == ["spoilt.png"]
    assert findings.one_coloured == ["black.png", "spoilt.png"]
    assert findings.converted == {"L": ["grey.png"], "CMYK": ["print.jpg"], "RGBA": ["alpha.png"], "P": ["palette.png"]}
    assert findings.sizes == {(5, 6): 11, (4, 9): 1}
    assert len(found.names) + findings.left_out == len(listed)
    told = " ".join(findings.sentences())
    for name in ("corrupt.png", "truncated.png", "spoilt.png", "black.png", "grey.png", "print.jpg", "alpha.png"):
        assert name in told
    assert "11 of 5×6, 1 of 4×9" in told
    for name, row in zip(found.names, found.main, strict=True):
        pixels, _ = read_picture(dict(listed)[name])
        assert np.allclose(row, pixels.reshape(-1, 3).mean(axis=0))
    assert np.allclose(found.gaussian.mean, found.main.astype(np.float64).mean(axis=0))
    assert found.features["spreads"].shape == found.main.shape


def test_every_call_has_one_shape_and_order_is_kept(tmp_path: Path) -> None:
    pictures = [(f"{i}", picture(i)) for i in range(10)]
    embedder, seen = Means(), []
    found = extract(pictures, embedder, tmp_path, batch_size=4, progress=lambda done, total: seen.append((done, total)))
    assert embedder.batches == [4, 4, 4]
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert found.names == [f"{i}" for i in range(10)]
    single = extract(pictures, Means(), tmp_path / "single", batch_size=1, readers=1)
    assert np.array_equal(found.main, single.main)


def test_arrays_that_are_not_finite_are_left_out_and_named(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    pictures = [("a", picture(0)), ("nan", np.full((6, 5, 3), np.nan)), ("b", picture(1)), ("floats", np.ones((2, 2)))]
    found = extract(pictures, Means(), tmp_path, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert found.names == ["a", "b"]
    assert found.findings.not_finite == ["nan"]
    assert list(found.findings.unreadable) == ["floats"]
    assert seen == [(3, 4), (4, 4)]


def test_nothing_to_use_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(PictureError, match=r"none of the pictures can be used.*a\.png"):
        extract(pictures_in(tmp_path), Means(), tmp_path / "out")
    with pytest.raises(PictureError, match="there are no pictures"):
        extract([], Means(), tmp_path / "out")
    with pytest.raises(PictureError, match="batch_size must be at least 1, not 0"):
        extract([("a", picture(0))], Means(), tmp_path / "out", batch_size=0)
    (tmp_path / "none").mkdir()
    with pytest.raises(PictureError, match="none holds no picture"):
        pictures_in(tmp_path / "none")
    with pytest.raises(PictureError, match="there is no folder"):
        pictures_in(tmp_path / "nowhere")
    with pytest.raises(PictureError, match="is not there"):
        read_picture(tmp_path / "nowhere.png")


def test_framing_is_the_centre_square() -> None:
    wide = picture(0, 6, 10)
    assert np.array_equal(Framing("centre").apply(wide), wide[:, 2:8])
    assert Framing("centre", 3).apply(wide).shape == (3, 3, 3)
    assert np.array_equal(AS_IT_IS.apply(wide), wide)
    for crop, side in (("corner", None), ("none", 4), ("centre", 0)):
        with pytest.raises(PictureError, match=r"no crop|a side is at least 1"):
            Framing(crop, side)
