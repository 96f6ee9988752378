"""The representative draw: legal, settled by its seed, and nearer to the whole than chance by a wide margin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.metrics.frechet import FeatureError, FrechetReference
from evenhand.sampling import representative
from evenhand.sampling.draws import SubsetError, random_subset
from evenhand.sampling.representative import representative_subset


def skewed(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    """Correlated features with heavy, lopsided tails, whose scales fall by a factor of a hundred."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    return (rng.gamma(1.0, size=(count, dimension)) * np.geomspace(1, 0.01, dimension)) @ rotation + 3.0


@pytest.fixture(scope="module")
def reference() -> FrechetReference:
    return FrechetReference(skewed(2000, 24))


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 60), st.integers(0, 2**32), st.data())
def test_a_draw_is_a_sorted_set_of_the_pool(size: int, seed: int, data: st.DataObject) -> None:
    reference = FrechetReference(skewed(80, 5))
    pool = np.array(sorted(data.draw(st.sets(st.integers(0, 79), min_size=size))))
    chosen = representative_subset(reference, size, seed, pool=pool)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == size
    assert set(chosen.tolist()) <= set(pool.tolist())


@pytest.mark.parametrize("size", [8, 24, 100, 600])
def test_it_lies_far_nearer_than_the_best_of_twenty_random_draws(reference: FrechetReference, size: int) -> None:
    drawn = [reference.distance(random_subset(2000, size, seed)) for seed in range(20)]
    for seed in range(3):
        # measured: a fifth of the best at 8, a seventieth at 600
        assert reference.distance(representative_subset(reference, size, seed)) < 0.5 * min(drawn)


def test_the_seed_settles_the_draw(reference: FrechetReference) -> None:
    first = representative_subset(reference, 50, 4)
    assert first.tolist() == representative_subset(reference, 50, 4).tolist()
    assert first.tolist() != representative_subset(reference, 50, 5).tolist()


def test_what_the_search_adds_up_is_what_the_subset_has(
    reference: FrechetReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all exchanges the running moments are those of the members, counted anew."""
    states: list[representative._State] = []
    made = representative._State.__init__

    def remember(self: representative._State, *args: object) -> None:
        made(self, *args)  # type: ignore[arg-type]
        states.append(self)

    monkeypatch.setattr(representative._State, "__init__", remember)
    chosen = representative_subset(reference, 300, 1)
    fresh = representative._State(reference, chosen)
    assert states[0].mean == pytest.approx(fresh.mean, abs=1e-10)
    assert states[0].moment == pytest.approx(fresh.moment, abs=1e-10)


def test_every_exchange_lowers_what_is_searched(reference: FrechetReference) -> None:
    """n² |residual|² falls by just what the kernel says: the identity the search rests on."""
    chosen, others = np.arange(40), np.arange(40, 240)
    state = representative._State(reference, chosen)

    def residual(state: representative._State) -> float:
        return float(state.mean @ state.mean + 0.25 * (state.moment**2).sum())

    before = residual(state)
    inside = state.exchange(chosen, others)
    assert inside.sum() == 40
    after = residual(state)
    assert after < 0.5 * before
    assert after == pytest.approx(residual(representative._State(reference, np.flatnonzero(inside))), rel=1e-8)


def test_the_whole_pool_is_itself(reference: FrechetReference) -> None:
    pool = np.arange(0, 2000, 7)
    assert representative_subset(reference, len(pool), 0, pool=pool).tolist() == pool.tolist()


def test_progress_reaches_its_end(reference: FrechetReference) -> None:
    seen: list[tuple[int, int]] = []
    representative_subset(reference, 300, 0, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)]


@pytest.mark.parametrize(
    ("size", "message"), [(1, "at least 2 prompts, not 1"), (2001, "2001 prompts cannot be drawn")]
)
def test_impossible_sizes_are_named(reference: FrechetReference, size: int, message: str) -> None:
    with pytest.raises(SubsetError, match=message):
        representative_subset(reference, size, 0)


def test_constant_features_are_named() -> None:
    with pytest.raises(FeatureError, match="features of all 50 prompts are equal"):
        representative_subset(FrechetReference(np.full((50, 3), 0.1, np.float32)), 5, 0)
