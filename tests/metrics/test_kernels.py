"""KID and CMMD, beside torch-fidelity, clean-fid and sums that are written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cleanfid.fid import kernel_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_kid import kid_features_to_metric

from evenhand.metrics.frechet import FeatureError
from evenhand.metrics.kernels import BLOCK, CMMD_SCALE, cmmd, discrepancy, gaussian_kernel, kid, polynomial_kernel


def features(seed: int, rows: int, dimension: int = 16, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dimension)) + shift


def test_kid_is_torch_fidelitys_and_clean_fids() -> None:
    x, y = features(0, 60), features(1, 60, shift=0.3)
    ours = kid(x, y).unbiased
    theirs = kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=60)
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert ours == pytest.approx(kernel_distance(x, y, num_subsets=1, max_subset_size=60), rel=1e-9)


def test_cmmd_is_its_definition() -> None:
    """Jayasumana et al. 2024: all pairs, σ = 10, normalised features, × 1000."""
    x, y = features(0, 40), features(1, 30, shift=0.5)
    a, b = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))

    def mean(one: np.ndarray, two: np.ndarray) -> float:
        return float(np.mean([[np.exp(-((p - q) ** 2).sum() / 200) for q in two] for p in one]))

    expected = CMMD_SCALE * (mean(a, a) + mean(b, b) - 2 * mean(a, b))
    assert cmmd(3 * x, y).biased == pytest.approx(expected, rel=1e-9)


def test_blocks_change_nothing() -> None:
    x, y = features(0, BLOCK + 7, 3), features(1, BLOCK + 3, 3, shift=0.2)
    k, n, m = polynomial_kernel, len(x), len(y)
    whole = (k(x, x).sum() - np.trace(k(x, x))) / (n * (n - 1)) + (k(y, y).sum() - np.trace(k(y, y))) / (m * (m - 1))
    assert kid(x, y).unbiased == pytest.approx(whole - 2 * k(x, y).mean(), rel=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(3, 12), st.integers(3, 12), st.integers(0, 5))
def test_the_jackknife_leaves_out_each_row(n: int, m: int, seed: int) -> None:
    x, y = features(seed, n, 3), features(seed + 9, m, 3, shift=0.4)
    found = discrepancy(x, y, gaussian_kernel)
    without_x = np.array([discrepancy(np.delete(x, i, 0), y, gaussian_kernel).unbiased for i in range(n)])
    without_y = np.array([discrepancy(x, np.delete(y, i, 0), gaussian_kernel).unbiased for i in range(m)])
    variance = sum((len(w) - 1) / len(w) * ((w - w.mean()) ** 2).sum() for w in (without_x, without_y))
    assert found.standard_error == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of two equal distributions the squared discrepancy is 0; of shifted ones it is estimated from many rows."""
    truth = kid(features(100, 4000, 4), features(101, 4000, 4, shift=0.5)).unbiased
    hits = 0
    for seed in range(200):
        low, high = kid(features(2 * seed, 60, 4), features(2 * seed + 1, 60, 4, shift=0.5)).interval()
        hits += low <= truth <= high
    assert 180 <= hits <= 199  # 190 of 200 are expected; the sampling error is 3


def test_large_sets_are_drawn_from_and_say_so() -> None:
    x, y = features(0, 80), features(1, 30)
    found = kid(x, y, most=50, seed=1)
    assert (found.n, found.m, found.drawn) == (50, 30, True)
    assert found == kid(x, y, most=50, seed=1)
    assert not kid(x, y).drawn


def test_bad_features_are_named() -> None:
    with pytest.raises(FeatureError, match="x has 3 dimensions, y has 4"):
        kid(features(0, 5, 3), features(0, 5, 4))
    with pytest.raises(FeatureError, match="there are 1"):
        kid(features(0, 1, 3), features(0, 5, 3))
    with pytest.raises(FeatureError, match="row 0 has length 0"):
        cmmd(np.zeros((4, 3)), features(0, 5, 3))
    with pytest.raises(FeatureError, match="at least 2 rows, not 1"):
        kid(features(0, 4, 3), features(0, 5, 3), most=1)
