"""A checkpoint's safety checker is asked and never obeyed: pictures stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor

from evenhand.generation.safety import SafetyError, load_safety_screen, may_have_checker


def tiny_checker(folder: Path, *, picky: bool = True) -> Path:
    """A randomly initialised checker in a checkpoint folder; a picky one flags about half of all noise."""
    torch.manual_seed(5)
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16,
        "patch_size": 8, "projection_dim": 8,
    }  # fmt: skip
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    with torch.no_grad():
        for name in ("concept_embeds", "special_care_embeds"):
            getattr(checker, name).copy_(torch.randn_like(getattr(checker, name)))
        checker.concept_embeds_weights.fill_(0.6 if picky else 1.1)
        checker.special_care_embeds_weights.fill_(1.1)
    checker.save_pretrained(folder / "safety_checker")
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16).save_pretrained(folder / "feature_extractor")
    index = folder / "model_index.json"
    declared = json.loads(index.read_text()) if index.exists() else {}
    declared["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index.write_text(json.dumps(declared))
    return folder


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
