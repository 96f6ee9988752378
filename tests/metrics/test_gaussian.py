"""Streamed statistics equal numpy's, whatever the blocks, and survive a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cleanfid.fid import frechet_distance as clean_fid
from hypothesis import given
from hypothesis import strategies as st
from pytorch_fid.fid_score import calculate_frechet_distance as pytorch_fid

from evenhand.metrics.frechet import SELF_TOLERANCE, FeatureError, FrechetTarget
from evenhand.metrics.gaussian import Gaussian, GaussianError, GaussianSums


def features(seed: int, rows: int, dimension: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, dimension)) @ rng.normal(size=(dimension, dimension)) + rng.normal(size=dimension)


def fitted(x: np.ndarray) -> Gaussian:
    sums = GaussianSums(x.shape[1])
    sums.add(x)
    return sums.gaussian()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.sampled_from([0.0, 1e4]))
def test_the_sums_do_not_depend_on_the_blocks(blocks: list[int], offset: float) -> None:
    rows = [*blocks, 2]
    x = features(0, sum(rows), 3) + offset
    sums = GaussianSums(3)
    for part in np.split(x, np.cumsum(rows)[:-1]):
        sums.add(part)
    found = sums.gaussian()
    assert found.count == len(x)
    assert np.allclose(found.mean, x.mean(axis=0), rtol=1e-12)
    assert np.allclose(found.covariance, np.cov(x, rowvar=False), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("rows", [8, 40, 5000])
def test_the_distance_is_clean_fids_and_pytorch_fids(rows: int) -> None:
    x, y = features(1, rows), features(2, 60)
    target = FrechetTarget(fitted(y))
    moments = (x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False))
    assert target.distance_to(x) == pytest.approx(clean_fid(*moments), rel=1e-5)
    assert target.distance_to(x) == pytest.approx(pytorch_fid(*moments), rel=1e-5)


@pytest.mark.parametrize(("rows", "offset"), [(8, 0.0), (8, 1e5), (3000, 0.0), (3000, 1e5)])
def test_a_set_lies_at_itself(rows: int, offset: float) -> None:
    x = features(3, rows) + offset
    gaussian = fitted(x)
    assert 0 <= FrechetTarget(gaussian).distance_to(x) <= 2 * SELF_TOLERANCE * np.trace(gaussian.covariance)


def test_a_file_holds_it(tmp_path: Path) -> None:
    gaussian = fitted(features(0, 20))
    gaussian.save(tmp_path / "folder" / "statistics.npz")
    again = Gaussian.load(tmp_path / "folder" / "statistics.npz")
    assert again.count == 20
    assert np.array_equal(again.mean, gaussian.mean)
    assert np.array_equal(again.covariance, gaussian.covariance)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["statistics.npz"]


def test_bad_files_and_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(GaussianError, match=r"a\.npz holds no statistics"):
        Gaussian.load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", mean=np.zeros(3))
    with pytest.raises(GaussianError, match=r"b\.npz holds no statistics"):
        Gaussian.load(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", mean=np.zeros(3), covariance=np.zeros((2, 2)), count=5)
    with pytest.raises(GaussianError, match=r"5 rows, \(2, 2\)"):
        Gaussian.load(tmp_path / "c.npz")
    sums = GaussianSums(2)
    sums.add(np.zeros((1, 2)))
    with pytest.raises(GaussianError, match="at least 2 rows, there are 1"):
        sums.gaussian()
    with pytest.raises(GaussianError, match="after row 1 are not finite"):
        sums.add(np.full((1, 2), np.inf))
    with pytest.raises(FeatureError, match="features have 3 dimensions, the set has 12"):
        FrechetTarget(fitted(features(0, 20))).distance_to(features(0, 20, 3))
    with pytest.raises(FeatureError, match="at least 2 rows"):
        FrechetTarget(fitted(features(0, 20))).distance_to(features(0, 1))
