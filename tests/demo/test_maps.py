"""The demo model's semantic maps beside the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evenhand.demo.evaluate import CHECKPOINT
from evenhand.demo.maps import OTHER, SceneMap, exchanged, mean_overlap, scene_maps, sheet
from evenhand.generation.checkpoint import load_pipeline


@pytest.fixture(scope="module")
def maps() -> list[SceneMap]:
    return scene_maps(load_pipeline(str(CHECKPOINT), device="cpu", dtype=torch.float32), 40)


def test_regions_lie_on_the_right_shapes(maps: list[SceneMap]) -> None:
    """0.73 over 300 scenes; the map of another scene with as many things lies on them by chance alone."""
    assert mean_overlap(maps) > 0.6
    assert mean_overlap(exchanged(maps)) < 0.4
    assert sum(len(each.truth) for each in maps) > 60


def test_overlap_of_a_worked_example() -> None:
    truth = np.array([[[1, 1], [0, 0]], [[0, 0], [0, 1]], [[0, 0], [0, 0]]], bool)
    regions = np.array([[0, 4], [3, 1]])  # the third thing is hidden, and nothing follows its words
    scene = SceneMap("", np.zeros((8, 8, 3), np.uint8), ("a", "b", "c", "wall", OTHER), regions, truth)
    assert scene.overlaps() == [0.5, 1.0, 1.0]
    assert mean_overlap([scene, scene]) == pytest.approx(2.5 / 3)


def test_names_are_words_of_the_caption(maps: list[SceneMap]) -> None:
    for each in maps:
        assert len(each.names) == len(each.truth) + 2  # things, the background, other words
        assert all(name in each.caption for name in each.names[:-1])
        assert 0 <= each.regions.min() <= each.regions.max() < len(each.names)


def test_a_sheet_shows_each_scene_in_three_ways(maps: list[SceneMap]) -> None:
    drawn = sheet(maps[:2], side=128)
    assert drawn.dtype == np.uint8
    assert drawn.shape[1] > 3 * 128
    assert drawn.shape[0] > 2 * 128
