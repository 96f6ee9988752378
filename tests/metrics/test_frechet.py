"""The squared Fréchet distance against independent computations, closed forms and its own symmetries."""

from __future__ import annotations

import tracemalloc
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from evenhand.metrics import frechet
from evenhand.metrics.frechet import FeatureError, FrechetReference, frechet_distance

RNG = np.random.default_rng


def features(seed: int, count: int, dimension: int, decay: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Correlated normal features whose scales fall from 1 to 10^-decay."""
    rng = RNG(seed)
    rotation = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    return (rng.normal(size=(count, dimension)) * 10.0 ** -np.linspace(0, decay, dimension)) @ rotation.T + shift


def by_square_root(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, as FID implementations compute it: scipy's matrix square root of the product."""
    first, second = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (x, y))
    root = linalg.sqrtm(first @ second).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root))


def by_singular_values(x: np.ndarray, y: np.ndarray) -> float:
    """tr (Σ₁Σ₂)^½ = ‖X₁ᶜ X₂ᶜᵀ‖ₙᵤ꜀ₗₑₐᵣ / √((n₁−1)(n₂−1)), through two QR decompositions: no covariance is formed."""
    first, second = x - x.mean(0), y - y.mean(0)
    r1, r2 = (np.asarray(np.linalg.qr(each / np.sqrt(len(each) - 1), mode="r")) for each in (first, second))
    root = linalg.svdvals(r1 @ r2.T).sum()
    traces = (first**2).sum() / (len(x) - 1) + (second**2).sum() / (len(y) - 1)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + traces - 2 * root)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 8), (90, 400, 64), (500, 500, 32), (2, 50, 1), (70, 70, 64)])
def test_it_is_the_matrix_square_root_of_the_product(n: int, m: int, d: int) -> None:
    x, y = features(1, n, d), features(2, m, d, shift=0.3)
    assert frechet_distance(x, y) == pytest.approx(by_square_root(x, y), rel=1e-5)
    assert frechet_distance(x, y) == pytest.approx(by_singular_values(x, y), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Matrix is singular")
@pytest.mark.parametrize(("n", "m", "d"), [(10, 300, 64), (2, 300, 64), (30, 20, 64), (3, 3, 100)])
def test_fewer_rows_than_dimensions(n: int, m: int, d: int) -> None:
    """Σ₁ is singular: scipy's square root of the product is good to about 1e-7 of the traces there."""
    x, y = features(1, n, d, shift=0.1), features(2, m, d)
    assert frechet_distance(x, y) == pytest.approx(by_singular_values(x, y), rel=1e-6)
    assert frechet_distance(x, y) == pytest.approx(by_square_root(x, y), rel=1e-5)


@pytest.mark.parametrize("n", [2, 5, 24, 25, 60, 199])
def test_a_subset_is_compared_as_its_rows_are(n: int) -> None:
    x = features(4, 200, 24, shift=3.0)
    indices = RNG(0).permutation(200)[:n]
    reference = FrechetReference(x)
    assert reference.distance(indices) == pytest.approx(frechet_distance(x[indices], x), rel=1e-6)
    assert reference.distance(indices) == pytest.approx(by_singular_values(x[indices], x), rel=1e-6)
    assert reference.distance(indices.tolist()) == reference.distance(indices)


@pytest.mark.parametrize(("decay", "n"), [(3.0, 300), (8.0, 60), (8.0, 380), (12.0, 399)])
def test_sets_of_nearly_equal_statistics_keep_their_digits(decay: float, n: int) -> None:
    """Eigenvalues of the Gram matrix alone are off by more than 1e-5 here (the last distance is 1e-7 of its terms)."""
    x = features(6, 400, 128, decay)
    indices = RNG(1).permutation(400)[:n]
    assert FrechetReference(x).distance(indices) == pytest.approx(by_singular_values(x[indices], x), rel=1e-5)


# ------------------------------------------------------------------------------ large sets


@pytest.mark.parametrize("kept", [True, False])
def test_a_memory_map_read_in_blocks_is_the_array_in_memory(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = features(4, 400, 24, shift=3.0).astype(np.float32)
    expected = [frechet_distance(x[:n].astype(float), x.astype(float)) for n in (5, 24, 25, 90, 300)]
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr(frechet, "BLOCK_BYTES", 8 * 24 * 37)
    monkeypatch.setattr(frechet, "BLOCK_ROWS", 11)
    monkeypatch.setattr(frechet, "KEPT_BYTES", 2**28 if kept else 0)
    reference = FrechetReference(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert list(reference.prefix_distances(np.arange(400), [5, 24, 25, 90, 300])) == pytest.approx(expected, rel=1e-6)
    assert [reference.distance(np.arange(n)) for n in (5, 24, 25, 90, 300)] == pytest.approx(expected, rel=1e-6)


def test_no_copy_of_the_features_is_made_where_they_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    x = features(4, 40_000, 8).astype(np.float32)
    monkeypatch.setattr(frechet, "KEPT_BYTES", 0)
    monkeypatch.setattr(frechet, "BLOCK_BYTES", 2**14)
    tracemalloc.start()
    reference = FrechetReference(x)
    reference.distance(np.arange(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reference.features is x
    assert peak < x.nbytes / 2  # 640 kB of 1.28 MB; one float64 copy would be 2.56 MB


def test_a_row_that_is_not_finite_is_found_in_a_later_block(monkeypatch: pytest.MonkeyPatch) -> None:
    x = features(4, 400, 24).astype(np.float32)
    x[333, 3] = np.nan
    monkeypatch.setattr(frechet, "BLOCK_BYTES", 8 * 24 * 37)
    with pytest.raises(FeatureError, match="row 333 is not finite"):
        FrechetReference(x)


def test_a_set_knows_whether_it_is_one_point() -> None:
    assert FrechetReference(np.full((1000, 5), 0.1, np.float32)).is_constant
    assert FrechetReference(np.zeros((10, 5))).is_constant
    nearly = np.full((1000, 5), 0.1, np.float32)
    nearly[7, 2] = np.nextafter(np.float32(0.1), np.float32(1))
    assert not FrechetReference(nearly).is_constant


# ------------------------------------------------------------------------------ closed forms


def with_moments(mean: np.ndarray, covariance: np.ndarray, count: int = 50, seed: int = 0) -> np.ndarray:
    """Features whose sample mean and covariance (ddof 1) are exactly these."""
    noise = RNG(seed).normal(size=(count, len(mean)))
    white = np.linalg.qr(noise - noise.mean(0))[0] * np.sqrt(count - 1)
    return white @ linalg.sqrtm(covariance).real.T + mean


def test_diagonal_gaussians() -> None:
    s1, s2 = np.array([1.0, 2.0, 0.5]), np.array([3.0, 1.0, 0.5])
    m1, m2 = np.array([0.0, 1.0, -1.0]), np.array([2.0, 1.0, -1.5])
    x, y = with_moments(m1, np.diag(s1**2)), with_moments(m2, np.diag(s2**2), 70, 1)
    # |Δμ|² = 4.25, Σ(s₁−s₂)² = 4 + 1 + 0
    assert frechet_distance(x, y) == pytest.approx(9.25, rel=1e-12)


def test_one_dimension_is_means_and_deviations() -> None:
    # means 2 and 5, deviations 1 and 2
    assert frechet_distance([[1.0], [2.0], [3.0]], [[3.0], [5.0], [7.0]]) == pytest.approx(9 + 1, rel=1e-12)


def test_two_dimensions_that_do_not_commute() -> None:
    first, second = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, -0.5], [-0.5, 4.0]])
    x, y = with_moments(np.zeros(2), first), with_moments(np.zeros(2), second, 30, 3)
    # the eigenvalues of a 2×2 product have sum tr and product det: (√a + √b)² = tr + 2√det
    product = first @ second
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    assert frechet_distance(x, y) == pytest.approx(5 + 5 - 2 * root, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize(("count", "dimension", "decay"), [(100, 8, 1), (20, 64, 1), (200, 64, 10), (2, 5, 0)])
def test_a_set_lies_at_no_distance_of_itself(count: int, dimension: int, decay: float, scale: float) -> None:
    x = features(9, count, dimension, decay, shift=5.0) * scale
    trace = np.trace(np.cov(x, rowvar=False))
    assert 0.0 <= frechet_distance(x, x) <= 1e-6 * 2 * trace
    assert 0.0 <= FrechetReference(x).distance(np.arange(count)) <= 1e-6 * 2 * trace


def test_equal_rows_are_a_point() -> None:
    point = np.ones((4, 3))
    assert frechet_distance(point, point) == 0.0
    assert frechet_distance(point, point + 2.0) == pytest.approx(12.0)
    x = features(2, 30, 3)
    expected = np.trace(np.cov(x, rowvar=False)) + ((x.mean(0) - 1) ** 2).sum()
    assert frechet_distance(point, x) == pytest.approx(expected, rel=1e-12)


# ------------------------------------------------------------------------------ symmetries


SEEDS = st.integers(0, 10_000)


@settings(deadline=None)
@given(SEEDS, st.integers(2, 40), st.integers(2, 40), st.integers(1, 20))
def test_it_is_symmetric_and_not_negative(seed: int, n: int, m: int, d: int) -> None:
    x, y = features(seed, n, d), features(seed + 1, m, d)
    forth, back = frechet_distance(x, y), frechet_distance(y, x)
    assert forth == pytest.approx(back, rel=1e-6, abs=1e-9)
    assert forth > 0


@settings(deadline=None)
@given(SEEDS, st.integers(2, 30), st.integers(1, 12), st.floats(0.1, 10), st.floats(-5, 5))
def test_turning_moving_and_scaling_both_sets(seed: int, n: int, d: int, scale: float, shift: float) -> None:
    x, y = features(seed, n, d), features(seed + 1, 25, d)
    rotation = np.linalg.qr(RNG(seed).normal(size=(d, d)))[0]
    moved = [scale * each @ rotation + shift for each in (x, y)]
    assert frechet_distance(*moved) == pytest.approx(scale**2 * frechet_distance(x, y), rel=1e-6)


@settings(deadline=None)
@given(SEEDS, st.integers(2, 30))
def test_the_order_of_the_rows_does_not_matter(seed: int, n: int) -> None:
    reference = FrechetReference(features(3, 60, 10))
    indices = RNG(seed).permutation(60)[:n]
    assert reference.distance(indices) == pytest.approx(reference.distance(np.sort(indices)), rel=1e-6)


# ------------------------------------------------------------------------------ the mean term


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7])
def test_the_expected_mean_term_is_the_average_over_every_subset(n: int) -> None:
    x = features(5, 7, 3, shift=1.0)
    every = [((x[list(chosen)].mean(0) - x.mean(0)) ** 2).sum() for chosen in combinations(range(7), n)]
    assert FrechetReference(x).expected_mean_term(n) == pytest.approx(np.mean(every), rel=1e-10, abs=1e-15)


@pytest.mark.parametrize("n", [0, 8, -1])
def test_the_mean_term_of_an_impossible_size_is_named(n: int) -> None:
    with pytest.raises(FeatureError, match=f"subset of {n} cannot be drawn from 7"):
        FrechetReference(features(5, 7, 3)).expected_mean_term(n)


# ------------------------------------------------------------------------------ bad input


GOOD = features(0, 10, 3)


def spoilt(value: float) -> np.ndarray:
    array = GOOD.copy()
    array[4, 1] = value
    return array


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (spoilt(np.nan), GOOD, r"x: row 4 is not finite \(1 such rows\)"),
        (GOOD, spoilt(np.inf), "y: row 4 is not finite"),
        (GOOD[:1], GOOD, "x: a covariance needs at least 2 rows, there are 1"),
        (GOOD, GOOD[:0], "y: .* there are 0"),
        (GOOD, GOOD[:, :2], "x has 3 dimensions, y has 2"),
        (GOOD[0], GOOD, r"x must be an \(N, d\) array, not of shape \(3,\)"),
        (GOOD, GOOD[:, :0], r"y must be .* \(10, 0\)"),
    ],
)
def test_bad_features_are_named(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        frechet_distance(x, y)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([], "at least 2 rows, 0 are given"),
        ([3], "at least 2 rows, 1 are given"),
        ([[0, 1], [2, 3]], "at least 2 rows"),
        ([0, 10], "no row 10; the rows are 0 to 9"),
        ([0, -1], "no row -1"),
        ([0.0, 1.0], "whole numbers, not float64"),
        ([True, False], "whole numbers, not bool"),
    ],
)
def test_bad_subsets_are_named(indices: list, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        FrechetReference(GOOD).distance(indices)


def test_features_of_another_dimension_are_named() -> None:
    with pytest.raises(FeatureError, match="2 dimensions, the set has 3"):
        FrechetReference(GOOD).distance_to(GOOD[:, :2])
