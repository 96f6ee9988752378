"""What is served of two pictures: one format, one length, the stored pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evenhand.generation.images import decode_png, encode_png, smaller_webp
from evenhand.studies.image_store import store_image, store_picture
from evenhand.studies.models import Trial
from evenhand.studies.rating.picture_files import padded_png, padded_webp, picture_file
from tests.helpers.stored import image_path, webp_path
from tests.helpers.visitors import Visitor

BROWSER = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


def drawn(seed: int, width: int = 40, height: int = 30) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.repeat(rng.integers(0, 256, (height, 1, 3), dtype=np.uint8), width, axis=1)


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


@given(seed=st.integers(0, 99), more=st.integers(0, 300), width=st.integers(24, 70), height=st.integers(24, 70))
def test_padding_changes_the_length_and_no_pixel(seed: int, more: int, width: int, height: int) -> None:
    picture = drawn(seed, width, height)
    png = encode_png(picture)
    padded = padded_png(png, len(png) + more)
    assert len(padded) == len(png) + more + 12
    assert np.array_equal(decode_png(padded), picture)
    webp = smaller_webp(png)
    assert webp is not None
    padded = padded_webp(webp, len(webp) + 2 * more)
    assert len(padded) == len(webp) + 2 * more + 26
    assert int.from_bytes(padded[4:8], "little") == len(padded) - 8
    assert np.array_equal(decoded(padded), picture)


@pytest.mark.parametrize("webp", [True, False])
def test_two_pictures_have_one_length_and_one_format(webp: bool) -> None:
    first, second = (store_picture(encode_png(picture)) for picture in (drawn(1), np.zeros((30, 40, 3), np.uint8)))
    files = [picture_file(first, second, webp=webp), picture_file(second, first, webp=webp)]
    assert len(files[0].data) == len(files[1].data)
    assert {file.content_type for file in files} == {"image/webp" if webp else "image/png"}
    assert np.array_equal(decoded(files[0].data), drawn(1))


def test_where_one_picture_has_no_webp_both_are_png() -> None:
    """As those of studies that were prepared before there was any."""
    new, old = store_picture(encode_png(drawn(1))), store_image(encode_png(drawn(2)))
    assert webp_path(new).exists()
    assert not webp_path(old).exists()
    for sha256, beside in ((new, old), (old, new)):
        assert picture_file(sha256, beside, webp=True).content_type == "image/png"


def test_a_picture_is_served_though_the_one_beside_it_is_lost() -> None:
    kept, lost = (store_picture(encode_png(drawn(seed))) for seed in (1, 2))
    image_path(lost).unlink()
    webp_path(lost).unlink()
    assert np.array_equal(decoded(picture_file(kept, lost, webp=True).data), drawn(1))
    with pytest.raises(FileNotFoundError):
        picture_file(lost, kept, webp=True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER, "image/webp"),
        ("image/webp;q=0.5", "image/webp"),
        ("image/webp;q=0, image/*", "image/png"),
        ("image/*", "image/png"),
        ("*/*", "image/png"),
        ("", "image/png"),
    ],
)
def test_webp_goes_to_browsers_that_name_it(client: Client, visitor: Visitor, accept: str, kind: str) -> None:
    trial = Trial.objects.filter(booklet__evaluator=visitor.evaluator).select_related("left_image").get(position=1)
    for image in (trial.left_image, trial.right_image):
        store_picture(image_path(image.sha256).read_bytes())
    response = client.get(visitor.status()["trial"]["left"], headers={"Accept": accept})
    assert response["Content-Type"] == kind
    assert "Accept" in [each.strip() for each in response["Vary"].split(",")]
    stored = decode_png(image_path(trial.left_image.sha256).read_bytes())
    assert np.array_equal(decoded(response.content), stored)
