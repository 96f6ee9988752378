"""Images lie under their hash, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from evenhand.generation.images import encode_png
from evenhand.studies.image_store import store_image, store_picture
from evenhand.studies.models import Image
from tests.helpers.factories import make_ready_study
from tests.helpers.stored import image_path, webp_path


def test_an_image_lies_under_its_hash() -> None:
    sha256 = store_image(b"picture")
    assert sha256 == hashlib.sha256(b"picture").hexdigest()
    assert image_path(sha256).read_bytes() == b"picture"


def test_what_is_stored_again_is_young_again() -> None:
    """The doctor removes old files without a row, and the row of this one follows."""
    path = image_path(store_image(b"picture"))
    os.utime(path, (1e9, 1e9))
    store_image(b"picture")
    assert path.stat().st_mtime > 1.1e9
    assert list(path.parent.iterdir()) == [path]


def test_other_bytes_under_the_name_are_kept_beside_it() -> None:
    path = image_path(store_image(b"picture"))
    path.write_bytes(b"pic")
    store_image(b"picture")
    assert path.read_bytes() == b"picture"
    assert path.with_suffix(".damaged").read_bytes() == b"pic"


def test_a_failed_write_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        store_image(b"picture")
    folder = image_path(hashlib.sha256(b"picture").hexdigest()).parent
    assert list(Path(folder).iterdir()) == []


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_only_a_hash_names_an_image(name: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        image_path(name)


# ------------------------------------------------------------------------------ WebP


def png_of(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    return encode_png(np.repeat(rng.integers(0, 256, (32, 1, 3), dtype=np.uint8), 32, axis=1))


def test_a_picture_is_stored_twice_under_one_hash() -> None:
    png = png_of(1)
    sha256 = store_picture(png)
    assert sha256 == hashlib.sha256(png).hexdigest()
    assert image_path(sha256).read_bytes() == png
    assert webp_path(sha256).stat().st_size < len(png)
    before = webp_path(sha256).stat().st_mtime_ns
    store_picture(png)
    assert webp_path(sha256).stat().st_mtime_ns == before


def test_what_a_crash_left_without_a_webp_gets_one_when_it_is_stored_again() -> None:
    sha256 = store_image(png_of(2))
    assert not webp_path(sha256).exists()
    store_picture(png_of(2))
    assert webp_path(sha256).exists()


@pytest.mark.django_db
def test_the_command_makes_what_is_missing_and_says_what_it_saves(capsys: pytest.CaptureFixture[str]) -> None:
    study = make_ready_study()
    hashes = set(Image.objects.values_list("sha256", flat=True))
    call_command("make_webp", study.name)
    assert all(webp_path(sha256).exists() for sha256 in hashes)
    told = capsys.readouterr().out
    assert f"{len(hashes)} of {len(hashes)} pictures have a WebP" in told
    assert "% less" in told
    times = [webp_path(sha256).stat().st_mtime_ns for sha256 in hashes]
    call_command("make_webp")
    assert [webp_path(sha256).stat().st_mtime_ns for sha256 in hashes] == times
    with pytest.raises(CommandError, match="there is no study “77”"):
        call_command("make_webp", "77")
    image_path(min(hashes)).unlink()
    with pytest.raises(CommandError, match="1 pictures have no file"):
        call_command("make_webp", str(study.pk))
