"""The judge, calibrated on pictures whose truth is known: it passes true renders and fails wrong ones."""

from __future__ import annotations

import numpy as np

from evenhand.demo import scenes
from evenhand.demo.judge import judge, quality

COUNT = 300


def drawn(seed: int) -> list[tuple[np.ndarray, scenes.Scene, np.random.Generator]]:
    rng = np.random.default_rng(seed)
    made = [scenes.sample_scene(rng) for _ in range(COUNT)]
    return [(scenes.render(scene)[0], scene, rng) for scene in made]


def test_true_renders_are_found_right() -> None:
    passed = [judge(picture, scene.description).all_right for picture, scene, _ in drawn(1)]
    assert np.mean(passed) >= 0.98


def test_renders_of_wrong_captions_are_found_wrong() -> None:
    passed = [
        judge(picture, scenes.exchange_attribute(scene.description, rng)).all_right for picture, scene, rng in drawn(2)
    ]
    assert np.mean(passed) <= 0.02


def test_noise_and_emptiness_are_worth_little() -> None:
    rng = np.random.default_rng(3)
    texts = scenes.built_in_prompts(20)
    noise = rng.integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    right = [quality(scenes.render(scenes.place(scenes.parse(text), rng))[0], text) for text in texts]
    wrong = [quality(picture, text) for picture, text in zip(noise, texts, strict=True)]
    assert np.mean(right) > 0.98
    assert np.mean(wrong) < 0.5


def test_the_verdict_says_what_is_wrong() -> None:
    red_star = scenes.Description((scenes.Thing("star", "red"),), "white")
    picture = scenes.render(scenes.place(red_star, np.random.default_rng(0)))[0]
    blue_star = scenes.Description((scenes.Thing("star", "blue"),), "white")
    red_cross = scenes.Description((scenes.Thing("cross", "red"),), "white")
    on_black = scenes.Description((scenes.Thing("star", "red"),), "black")
    assert judge(picture, red_star).all_right
    assert not judge(picture, blue_star).things[0].colour
    assert not judge(picture, red_cross).things[0].shape
    assert judge(picture, red_cross).things[0].colour
    assert not judge(picture, on_black).background
