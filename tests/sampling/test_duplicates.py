"""Repeated prompts: the first of each is kept, near ones by their features' angle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenhand.sampling import duplicates
from evenhand.sampling.duplicates import DuplicatesError, first_of_each, first_of_near


@given(st.lists(st.sampled_from("abcde"), max_size=20))
def test_the_first_of_equal_texts_is_kept(texts: list[str]) -> None:
    kept = first_of_each(texts)
    assert [text for text, keep in zip(texts, kept, strict=True) if keep] == list(dict.fromkeys(texts))


def one_by_one(features: np.ndarray, cosine: float) -> list[bool]:
    """The definition: each row against every kept earlier one."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    kept: list[int] = []
    for i, row in enumerate(unit):
        if all(row @ unit[k] < cosine for k in kept):
            kept.append(i)
    return [i in kept for i in range(len(features))]


@pytest.mark.parametrize("block", [1, 7, 1024])
@pytest.mark.parametrize("cosine", [0.5, 0.9, 0.99])
def test_near_rows_are_dropped_in_order(block: int, cosine: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", block)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(8, 5))[rng.integers(0, 8, 60)] + 0.2 * rng.normal(size=(60, 5))
    kept = first_of_near(features, cosine)
    assert kept.tolist() == one_by_one(features, cosine)
    assert 1 < kept.sum() < 60


def test_length_does_not_matter_and_equal_rows_are_near_at_cosine_one() -> None:
    rows = np.random.default_rng(1).normal(size=(3, 300)).astype(np.float32)
    assert first_of_near(np.concatenate([rows, 5 * rows, -rows]), 1.0).tolist() == [True] * 3 + [False] * 3 + [True] * 3


@pytest.mark.parametrize("cosine", [0.0, -0.5, 1.01, float("nan")])
def test_an_impossible_cosine_is_named(cosine: float) -> None:
    with pytest.raises(DuplicatesError, match="must lie in"):
        first_of_near(np.ones((3, 2)), cosine)


def test_what_has_no_direction_or_is_too_much_is_named() -> None:
    with pytest.raises(DuplicatesError, match="prompt 1 have no direction"):
        first_of_near(np.array([[1.0, 0.0], [0.0, 0.0]]), 0.9)
    with pytest.raises(DuplicatesError, match="prompt 0 have no direction"):
        first_of_near(np.array([[np.nan, 0.0], [0.0, 1.0]]), 0.9)
    with pytest.raises(DuplicatesError, match="at most 200000 prompts; there are 200001"):
        first_of_near(np.broadcast_to(np.ones(2), (200_001, 2)), 0.9)
