"""Images lie under their hash, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from evenhand.studies.image_store import image_path, store_image


def test_an_image_lies_under_its_hash() -> None:
    sha256 = store_image(b"picture")
    assert sha256 == hashlib.sha256(b"picture").hexdigest()
    assert image_path(sha256).read_bytes() == b"picture"


def test_storing_twice_writes_once() -> None:
    path = image_path(store_image(b"picture"))
    before = path.stat().st_mtime_ns
    store_image(b"picture")
    assert path.stat().st_mtime_ns == before
    assert len(list(path.parent.iterdir())) == 1


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
