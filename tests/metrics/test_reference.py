"""A reference's statistics: computed once, and again where anything that they depend on is another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evenhand.metrics import reference
from evenhand.metrics.extraction import extract
from evenhand.metrics.fingerprints import weights_fingerprint
from evenhand.metrics.gaussian import GaussianError
from evenhand.metrics.pictures import AS_IT_IS, Framing, PictureError, pictures_in
from evenhand.metrics.reference import Reference, reference_manifest, reference_statistics
from tests.helpers.embedders import Means, picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six good pictures, one that cannot be read, and one of one colour."""
    place = tmp_path / "pictures"
    place.mkdir()
    for i in range(6):
        Image.fromarray(picture(i)).save(place / f"{i}.png")
    (place / "2-corrupt.png").write_bytes(b"no picture")
    Image.new("L", (5, 6)).save(place / "black.png")
    return place


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def same(one: Reference, other: Reference) -> bool:
    return (
        (one.key, one.names, one.findings) == (other.key, other.names, other.findings)
        and np.array_equal(one.gaussian.mean, other.gaussian.mean)
        and np.array_equal(one.gaussian.covariance, other.gaussian.covariance)
    )


def test_the_second_call_reads_what_the_first_computed(folder: Path, cache: Path, tmp_path: Path) -> None:
    embedder = Means()
    first = reference_statistics(folder, embedder, cache, batch_size=4)
    assert embedder.batches == [4, 4]
    second = reference_statistics(folder, embedder, cache, batch_size=4)
    assert embedder.batches == [4, 4]  # not asked again
    assert (first.was_cached, second.was_cached) == (False, True)
    assert same(first, second)
    direct = extract(pictures_in(folder), Means(), tmp_path / "direct", batch_size=4)
    assert second.names == direct.names == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "black.png"]
    assert asdict(second.findings) == asdict(direct.findings)
    assert list(second.findings.unreadable) == ["2-corrupt.png"]
    assert second.findings.one_coloured == ["black.png"]
    assert second.gaussian.count == 7
    assert second.gaussian.covariance.dtype == np.float64
    assert np.array_equal(second.gaussian.covariance, direct.gaussian.covariance)
    assert second.features is None
    assert sorted(path.name for path in (cache / second.key).iterdir()) == ["gaussian.npz", "record.json"]
    assert [path.name for path in cache.iterdir()] == [second.key]


def test_features_are_kept_where_they_are_asked_for(folder: Path, cache: Path, tmp_path: Path) -> None:
    plain = reference_statistics(folder, Means(), cache)
    first = reference_statistics(folder, Means(), cache, with_features=True)
    second = reference_statistics(folder, Means(), cache, with_features=True)
    assert [each.was_cached for each in (plain, first, second)] == [False, False, True]
    assert same(plain, first)
    assert same(first, second)
    direct = extract(pictures_in(folder), Means(), tmp_path / "direct")
    assert second.features is not None
    for name, rows in direct.features.items():
        assert np.array_equal(second.features[name], rows)
        assert isinstance(second.features[name], np.memmap)
        assert not second.features[name].flags.writeable
    assert reference_statistics(folder, Means(), cache).was_cached


def test_pictures_are_named_or_a_folder(folder: Path, cache: Path) -> None:
    named = pictures_in(folder)
    first = reference_statistics(folder, Means(), cache)
    assert reference_statistics(named[::-1], Means(), cache).was_cached
    arrays = [(str(i), picture(i)) for i in range(3)]
    assert not reference_statistics(arrays, Means(), cache).was_cached
    assert reference_statistics(arrays, Means(), cache).was_cached
    turned = [(name, pixels.reshape(5, 6, 3)) for name, pixels in arrays]
    assert not reference_statistics(turned, Means(), cache).was_cached
    shutil.copytree(folder, folder.with_name("copy"))
    assert reference_statistics(folder.with_name("copy"), Means(), cache).key == first.key


def test_whatever_changes_gives_another_key(folder: Path, cache: Path) -> None:
    keys = [reference_statistics(folder, Means(), cache).key]

    def add(embedder: Means, framing: Framing = AS_IT_IS) -> None:
        found = reference_statistics(folder, embedder, cache, framing=framing)
        assert not found.was_cached
        keys.append(found.key)

    add(Means("means with other weights"))
    add(Means(), Framing("centre"))
    add(Means(), Framing("centre", 4))
    wider = Means()
    wider.outputs = {"spreads": 3, "means": 3}
    add(wider)  # distances are of another output
    Image.fromarray(picture(17)).save(folder / "0.png")
    add(Means())
    (folder / "0.png").rename(folder / "zero.png")
    add(Means())
    (folder / "5.png").unlink()
    add(Means())
    assert len(set(keys)) == len(keys) == len(list(cache.iterdir()))


def test_a_network_is_named_by_its_weights() -> None:
    state = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    assert weights_fingerprint(state) == weights_fingerprint(dict(reversed(state.items())))
    assert weights_fingerprint(state) != weights_fingerprint(state | {"b": torch.full((1,), 1 + 1e-7)})
    assert weights_fingerprint(state) != weights_fingerprint({"a": state["a"], "c": state["b"]})


def test_a_manifest_says_what_it_is_of(folder: Path) -> None:
    content = reference_manifest(pictures_in(folder), Means(), Framing("centre", 4))
    assert list(content) == ["files", "crop", "side", "network", "outputs"]
    assert len(content["files"]["0.png"]) == 64
    assert content["outputs"] == {"main": "means", "dimensions": {"means": 3, "spreads": 3}}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)


def rewrite(path: Path) -> None:
    path.write_text(path.read_text().replace('"black.png": "', '"black.png": "0') if path.suffix == ".json" else "[1]")


@pytest.mark.parametrize("damage", [cut, flip, rewrite, Path.unlink])
@pytest.mark.parametrize("name", ["gaussian.npz", "record.json", "means.npy", "spreads.npy"])
def test_a_damaged_file_is_noticed_and_made_again(
    folder: Path, cache: Path, name: str, damage: Callable[[Path], None]
) -> None:
    good = reference_statistics(folder, Means(), cache, with_features=True)
    damage(cache / good.key / name)
    again = reference_statistics(folder, Means(), cache, with_features=True)
    assert not again.was_cached
    assert same(again, good)
    assert reference_statistics(folder, Means(), cache, with_features=True).was_cached
    assert [path.name for path in cache.iterdir()] == [good.key]


def test_a_record_of_another_kind_is_made_again(folder: Path, cache: Path) -> None:
    good = reference_statistics(folder, Means(), cache)
    for text in ("[]", "{}", '"no"', "{", "\x80"):
        (cache / good.key / "record.json").write_text(text, encoding="latin-1")
        assert same(reference_statistics(folder, Means(), cache), good)
    other = reference_statistics(folder, Means("other"), cache)
    shutil.rmtree(cache / good.key)
    shutil.copytree(cache / other.key, cache / good.key)  # whole, but of another network
    assert not reference_statistics(folder, Means(), cache).was_cached
    shutil.rmtree(cache / good.key)
    (cache / good.key).write_bytes(b"a file in the folder's place")
    assert not reference_statistics(folder, Means(), cache).was_cached
    assert reference_statistics(folder, Means(), cache).was_cached


def test_nothing_is_left_of_what_did_not_succeed(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Means):
        def embed(self, batch: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
            if self.batches:
                raise RuntimeError("the network broke")
            return super().embed(batch)

    with pytest.raises(RuntimeError, match="the network broke"):
        reference_statistics(folder, Broken(), cache, batch_size=2)
    assert list(cache.iterdir()) == []
    monkeypatch.setattr(reference.os, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no")))
    with pytest.raises(PermissionError):
        reference_statistics(folder, Means(), cache)
    assert list(cache.iterdir()) == []


def test_two_processes_may_compute_the_same(folder: Path, cache: Path) -> None:
    """While one computes, the other puts its result in place: both have it, and nothing else is left."""

    class Slow(Means):
        beside: Reference

        def embed(self, batch: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
            found = super().embed(batch)
            if len(self.batches) == 1:
                self.beside = reference_statistics(folder, Means(), cache, with_features=True)
            return found

    slow = Slow()
    found = reference_statistics(folder, slow, cache, with_features=True)
    assert same(found, slow.beside)
    assert slow.beside.features is not None
    assert found.features is not None
    assert np.array_equal(slow.beside.features["means"], found.features["means"])  # its files are still open
    assert os.listdir(cache) == [found.key]


def test_pictures_that_cannot_be_a_reference_are_named(folder: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="two pictures are named a"):
        reference_statistics([("a", picture(0)), ("a", picture(1))], Means(), cache)
    with pytest.raises(PictureError, match="there are no pictures"):
        reference_statistics([], Means(), cache)
    with pytest.raises(PictureError, match=r"gone\.png cannot be opened: No such file"):
        reference_statistics([("gone.png", tmp_path / "gone.png")], Means(), cache)
    with pytest.raises(PictureError, match="there is no folder"):
        reference_statistics(tmp_path / "nowhere", Means(), cache)
    with pytest.raises(GaussianError, match="at least 2 rows, there are 1"):
        reference_statistics([("a", picture(0))], Means(), cache)
    assert list(cache.iterdir()) == []
