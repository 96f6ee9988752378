from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from evenhand.generation.images import EncodingThreads, ImageError, decode_png, encode_png, sha256_of, smaller_webp

pictures = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


@given(pictures)
def test_a_picture_survives(picture: np.ndarray) -> None:
    assert np.array_equal(decode_png(encode_png(picture)), picture)


def test_equal_pixels_give_equal_bytes_whatever_the_memory_layout() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    mirrored_twice = np.ascontiguousarray(picture[:, ::-1])[:, ::-1]
    assert encode_png(picture) == encode_png(mirrored_twice)


def test_nothing_but_pixels_is_written() -> None:
    data = encode_png(np.zeros((4, 4, 3), np.uint8))
    chunks, at = [], 8
    while at < len(data):
        chunks.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    assert chunks == [b"IHDR", b"IDAT", b"IEND"]


def test_pictures_encoded_in_threads_have_the_same_bytes() -> None:
    pictures = list(np.random.default_rng(2).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8))
    threads: EncodingThreads[int, str] = EncodingThreads(sha256_of)
    with threads:
        threads.add(3, pictures[0])  # taken back by the next one of its key
        for at, picture in enumerate(pictures):
            threads.add(at, picture)
    assert threads.results() == {at: sha256_of(encode_png(picture)) for at, picture in enumerate(pictures)}


def test_a_picture_that_cannot_be_encoded_is_an_error_and_the_others_are_used() -> None:
    used: list[bytes] = []
    threads: EncodingThreads[str, None] = EncodingThreads(used.append)
    with threads:
        threads.add("bad", np.zeros((4, 4, 3)))  # type: ignore[arg-type]
        threads.add("good", np.zeros((4, 4, 3), np.uint8))
    assert len(used) == 1
    with pytest.raises(ImageError, match="float64"):
        threads.results()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match=str(array.dtype)):
        encode_png(array)


@pytest.mark.parametrize("data", [b"", b"GIF89a", encode_png(np.full((64, 64, 3), 7, np.uint8))[:60]])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=f"{len(data)} bytes"):
        decode_png(data)


def test_sha256_of_the_empty_bytes() -> None:  # FIPS 180-4's well-known value
    assert sha256_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256_of(b"abc") == hashlib.sha256(b"abc").hexdigest()


# ------------------------------------------------------------------------------ WebP


def test_a_webp_holds_the_same_pixels_in_fewer_bytes() -> None:
    picture = np.add.outer(np.arange(60), np.arange(80))[..., None].repeat(3, axis=2).astype(np.uint8)
    data = smaller_webp(encode_png(picture))
    assert data is not None
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("WEBP", (80, 60))
        assert np.array_equal(np.array(image.convert("RGB")), picture)
    assert len(data) < len(encode_png(picture))


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(np.zeros((1, 16_384, 3), np.uint8), id="wider than WebP allows"),
        pytest.param(np.random.default_rng(0).integers(0, 256, (2, 9, 3), dtype=np.uint8), id="no smaller"),
    ],
)
def test_where_webp_does_not_help_there_is_none(picture: np.ndarray) -> None:
    assert smaller_webp(encode_png(picture)) is None


def test_a_webp_with_other_pixels_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    png = encode_png(np.random.default_rng(0).integers(0, 9, (32, 32, 3), dtype=np.uint8))
    assert smaller_webp(png) is not None
    lossless = Image.Image.save
    monkeypatch.setattr(
        Image.Image, "save", lambda self, file, **how: lossless(self, file, **(how | {"lossless": False, "quality": 1}))
    )
    assert smaller_webp(png) is None
