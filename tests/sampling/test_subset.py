"""Random subsets and the curve of their distances (paper Fig. 10)."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.metrics.frechet import FeatureError, FrechetReference
from evenhand.sampling.subset import (
    FrechetCurve,
    SubsetError,
    draw_subset,
    frechet_curve,
    random_subset,
    smallest_size_under,
)


@pytest.fixture(scope="module")
def reference() -> FrechetReference:
    rng = np.random.default_rng(3)
    return FrechetReference(rng.normal(size=(200, 12)) * np.linspace(1, 4, 12) + 2)


@given(st.integers(1, 300), st.data(), st.integers(0, 2**32))
def test_a_draw_is_a_sorted_set_that_the_seed_settles(count: int, data: st.DataObject, seed: int) -> None:
    size = data.draw(st.integers(1, count))
    chosen = random_subset(count, size, seed)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == size
    assert 0 <= chosen[0] <= chosen[-1] < count
    assert random_subset(count, size, seed).tolist() == chosen.tolist()


def test_the_draws_of_one_seed_are_nested() -> None:
    draws = [set(random_subset(1000, size, 7).tolist()) for size in (10, 50, 400, 1000)]
    assert draws[0] < draws[1] < draws[2] < draws[3]


def test_another_seed_draws_others() -> None:
    assert random_subset(1000, 100, 1).tolist() != random_subset(1000, 100, 2).tolist()


def test_every_prompt_is_drawn_equally_often() -> None:
    counts = np.zeros(20)
    for seed in range(2000):
        counts[random_subset(20, 5, seed)] += 1
    # 500 expected of each, standard deviation 19.4: 5 of them away is one in 10^6
    assert np.abs(counts - 500).max() < 100


@pytest.mark.parametrize(("count", "size"), [(10, 11), (10, 0), (0, 1), (10, -3)])
def test_impossible_sizes_are_named(count: int, size: int) -> None:
    with pytest.raises(SubsetError, match=f"{size} prompts cannot be drawn from {count}"):
        random_subset(count, size, 0)


def test_a_negative_seed_is_named() -> None:
    with pytest.raises(SubsetError, match=r"seed.*-1"):
        random_subset(10, 5, -1)


def test_the_curve_holds_the_distances_of_nested_subsets(reference: FrechetReference) -> None:
    curve = frechet_curve(reference, [50, 10, 200, 10], draws=3, seed=5)
    assert curve.count == 200
    assert curve.sizes == (10, 50, 200)
    rng = np.random.default_rng(5)
    for draw in range(3):
        order = rng.permutation(200)
        expected = [reference.distance(order[:size]) for size in curve.sizes]
        assert [row[draw] for row in curve.distances] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_the_curve_falls_to_zero_at_the_whole_set(reference: FrechetReference) -> None:
    curve = frechet_curve(reference, [5, 20, 80, 200], draws=4, seed=5)
    assert (np.diff(curve.mean) < 0).all()
    assert np.abs(curve.distances[-1]).max() <= 1e-6 * 2 * reference.trace
    assert curve.mean_term == pytest.approx([(1 / n - 1 / 200) * reference.trace for n in (5, 20, 80, 200)])
    assert (curve.mean[:-1] > curve.mean_term[:-1]).all()


def test_the_same_seed_gives_the_same_curve(reference: FrechetReference) -> None:
    assert frechet_curve(reference, [10, 20], 2, 9) == frechet_curve(reference, [10, 20], 2, 9)
    assert frechet_curve(reference, [10, 20], 2, 9) != frechet_curve(reference, [10, 20], 2, 10)


def test_the_curve_reports_its_progress(reference: FrechetReference) -> None:
    seen: list[tuple[int, int]] = []
    frechet_curve(reference, [10, 20, 30], 2, 0, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(1, 7)]


def test_the_curve_survives_json(reference: FrechetReference) -> None:
    curve = frechet_curve(reference, [10, 20], 3, 0, representative_draws=1, gaussian_draws=2)
    data = json.loads(json.dumps(curve.to_dict()))
    assert FrechetCurve.from_dict(data) == curve
    del data["representative"], data["gaussian"]  # a record from before there were such draws
    assert FrechetCurve.from_dict(data) == frechet_curve(reference, [10, 20], 3, 0)


@pytest.mark.parametrize("draw", ["random", "representative"])
def test_the_first_draw_of_the_curve_is_the_subset_of_its_seed(reference: FrechetReference, draw: str) -> None:
    pool = np.arange(0, 200, 2)
    curve = frechet_curve(reference, [10, 40], 2, 6, pool=pool, representative_draws=2).family(draw)
    chosen = draw_subset(draw, reference, 40, 6, pool=pool)
    assert set(chosen.tolist()) <= set(pool.tolist())
    assert curve.distances[1][0] == pytest.approx(reference.distance(chosen), rel=1e-9)


def test_all_families_are_counted_in_the_progress(reference: FrechetReference) -> None:
    seen: list[tuple[int, int]] = []
    frechet_curve(
        reference,
        [10, 20],
        2,
        0,
        lambda done, total: seen.append((done, total)),
        representative_draws=1,
        gaussian_draws=3,
    )
    assert seen == [(done, 12) for done in range(1, 13)]


def test_equal_features_have_no_curve() -> None:
    with pytest.raises(FeatureError, match="features of all 30 prompts are equal"):
        frechet_curve(FrechetReference(np.full((30, 4), 0.1, np.float32)), [5], 1, 0)


def test_an_unknown_way_of_drawing_is_named(reference: FrechetReference) -> None:
    with pytest.raises(SubsetError, match="'best' is none of random, representative"):
        draw_subset("best", reference, 5, 0)
    with pytest.raises(SubsetError, match="no representative draws"):
        frechet_curve(reference, [10], 1, 0).family("representative")


def test_the_csv_has_every_distance() -> None:
    curve = FrechetCurve(9, (2, 3), ((1.0, 3.0), (0.5, 0.25)), (0.1, 0.05), representative=((0.5,), (0.125,)))
    rows = list(csv.DictReader(curve.to_csv().splitlines()))
    assert [(r["drawn"], int(r["size"]), int(r["draw"]), float(r["distance"])) for r in rows] == [
        ("random", 2, 0, 1.0),
        ("random", 2, 1, 3.0),
        ("random", 3, 0, 0.5),
        ("random", 3, 1, 0.25),
        ("representative", 2, 0, 0.5),
        ("representative", 3, 0, 0.125),
    ]
    assert {(r["count"], r["expected_mean_term"]) for r in rows} == {("9", "0.1"), ("9", "0.05")}


def test_mean_and_spread_are_over_the_draws() -> None:
    curve = FrechetCurve(9, (2, 3), ((1.0, 3.0), (0.5, 0.5)), (0.1, 0.05))
    assert curve.mean.tolist() == [2.0, 0.5]
    assert curve.spread.tolist() == pytest.approx([2**0.5, 0.0])
    single = FrechetCurve(9, (2,), ((1.0,),), (0.1,))
    assert single.spread.tolist() == [0.0]


@pytest.mark.parametrize(
    ("means", "threshold", "size"),
    [
        ((4.0, 3.0, 2.0, 1.0), 2.5, 30),
        ((4.0, 3.0, 2.0, 1.0), 2.0, 30),  # at the threshold is under it
        ((4.0, 3.0, 2.0, 1.0), 9.0, 10),
        ((4.0, 3.0, 2.0, 1.0), 0.5, None),
        ((4.0, 1.0, 2.0, 1.0), 1.5, 40),  # it must stay under it
    ],
)
def test_the_smallest_size_under_a_threshold(means: tuple[float, ...], threshold: float, size: int | None) -> None:
    curve = FrechetCurve(50, (10, 20, 30, 40), tuple((mean,) for mean in means), (0.0,) * 4)
    assert smallest_size_under(curve, threshold) == size


@pytest.mark.parametrize(
    ("sizes", "draws", "error", "message"),
    [
        ([10], 0, SubsetError, "draw.*0"),
        ([], 1, SubsetError, "at least one subset size"),
        ([10, 201], 1, FeatureError, "201 cannot be drawn from 200"),
        ([1, 10], 1, FeatureError, "subset of 1"),
    ],
)
def test_bad_curves_are_named(
    reference: FrechetReference, sizes: list[int], draws: int, error: type[ValueError], message: str
) -> None:
    with pytest.raises(error, match=message):
        frechet_curve(reference, sizes, draws, 0)
