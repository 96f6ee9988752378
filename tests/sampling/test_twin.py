"""The Gaussian twin: a population that is never made, held against one that is."""

from __future__ import annotations

import numpy as np
import pytest

from evenhand.metrics.frechet import FrechetReference
from evenhand.sampling.twin import twin_distances, whitened_rows

RNG = np.random.default_rng


def made_population(count: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """The definition: normal rows, centred and whitened by their own covariance."""
    rows = rng.normal(size=(count, dimension))
    rows -= rows.mean(0)
    return np.linalg.solve(np.linalg.cholesky(np.cov(rows, rowvar=False)), rows.T).T


def test_a_whole_population_is_white() -> None:
    rows = whitened_rows(40, 6, 40, RNG(0))
    assert rows.mean(0) == pytest.approx(np.zeros(6), abs=1e-12)
    assert np.cov(rows, rowvar=False) == pytest.approx(np.eye(6), abs=1e-10)


@pytest.mark.parametrize("n", [5, 20, 33, 37])
def test_rows_are_distributed_as_those_of_a_population_that_is_made(n: int) -> None:
    """Mean and spread of three statistics over 4,000 populations, to four standard errors."""

    def statistics(rows: np.ndarray) -> list[float]:
        return [float((rows.mean(0) ** 2).sum()), float((rows**2).sum()), float(np.abs(rows[0] @ rows[1]))]

    rng = RNG(n)
    ours = np.array([statistics(whitened_rows(40, 4, n, rng)) for _ in range(4000)])
    made = np.array([statistics(made_population(40, 4, rng)[:n]) for _ in range(4000)])
    for moment in (1, 2):
        difference = (ours**moment).mean(0) - (made**moment).mean(0)
        error = np.sqrt(((ours**moment).var(0) + (made**moment).var(0)) / 4000)
        assert (np.abs(difference) < 4 * error).all()


def test_normal_features_lie_on_their_twins_curve() -> None:
    features = RNG(3).normal(size=(600, 10)) * np.geomspace(1, 0.1, 10)
    reference = FrechetReference(features)
    sizes = (6, 10, 50, 200, 600)
    twin = np.array([list(twin_distances(reference, sizes, RNG(i))) for i in range(60)])
    drawn = reference.curve(sizes, 60, RNG(1)).T
    error = np.sqrt((twin.var(0) + drawn.var(0)) / 60)
    assert (np.abs(twin.mean(0) - drawn.mean(0))[:-1] < 5 * error[:-1]).all()
    assert np.abs(twin[:, -1]).max() < 1e-6 * 2 * reference.trace  # the twin's whole has the set's own moments


def test_lopsided_features_lie_above_their_twins_curve() -> None:
    features = RNG(3).lognormal(sigma=1.5, size=(600, 6))
    reference = FrechetReference(features)
    twin = np.mean([list(twin_distances(reference, (20, 100), RNG(i))) for i in range(40)], axis=0)
    assert (reference.curve((20, 100), 40, RNG(1)).mean(1) > 1.2 * twin).all()


def test_fewer_prompts_than_dimensions_have_a_twin_in_their_span() -> None:
    reference = FrechetReference(RNG(0).normal(size=(12, 40)))
    distances = list(twin_distances(reference, (3, 12), RNG(0)))
    assert distances[0] > 0
    assert abs(distances[1]) < 1e-5 * reference.trace


def test_impossible_populations_are_named() -> None:
    with pytest.raises(ValueError, match="41 rows of 40 in 3 dimensions"):
        whitened_rows(40, 3, 41, RNG(0))
    with pytest.raises(ValueError, match="in 40 dimensions"):
        whitened_rows(40, 40, 10, RNG(0))
