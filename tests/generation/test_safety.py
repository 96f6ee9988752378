"""A checkpoint's safety checker is asked and never obeyed: pictures stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evenhand.generation.safety import SafetyError, load_safety_screen, may_have_checker
from tests.helpers.tiny_checker import tiny_checker


def noise(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) // (1 + i % 4) for i in range(count)]


def test_it_flags_and_leaves_the_pictures_alone(tmp_path: Path) -> None:
    screen = load_safety_screen(tiny_checker(tmp_path))
    assert screen is not None
    pictures = noise(24)
    before = [picture.copy() for picture in pictures]
    flags = screen.flags(pictures)
    assert 0 < sum(flags) < len(flags)
    for picture, same in zip(pictures, before, strict=True):
        np.testing.assert_array_equal(picture, same)
    assert flags == [flag for picture in pictures for flag in screen.flags([picture])]
    assert screen.flags([]) == []


def test_its_name_is_of_what_it_decides_with(tmp_path: Path) -> None:
    names = []
    for folder, picky in (("one", True), ("moved", True), ("lenient", False)):
        (tmp_path / folder).mkdir()
        screen = load_safety_screen(tiny_checker(tmp_path / folder, picky=picky))
        assert screen is not None
        names.append(screen.name)
    assert names[0].startswith("StableDiffusionSafetyChecker-")
    assert names[0] == names[1] != names[2]


def test_a_lenient_one_flags_nothing(tmp_path: Path) -> None:
    screen = load_safety_screen(tiny_checker(tmp_path, picky=False))
    assert screen is not None
    assert screen.flags(noise(8)) == [False] * 8


def test_a_checkpoint_without_one_has_no_screen(tmp_path: Path) -> None:
    demo = Path(__file__).parents[2] / "demo" / "checkpoint"
    for folder in (demo, tmp_path):
        assert not may_have_checker(folder)
        assert load_safety_screen(folder) is None
    assert may_have_checker("somebody/some-model")


def test_a_declared_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    tiny_checker(tmp_path)
    (tmp_path / "safety_checker" / "config.json").unlink()
    with pytest.raises(SafetyError, match="cannot be loaded"):
        load_safety_screen(tmp_path)
