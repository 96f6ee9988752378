"""The renderer and its grammar: captions say what is drawn, and everything follows from the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.demo import scenes

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=300, deadline=None)
@given(seed=seeds)
def test_a_caption_says_exactly_what_was_described(seed: int) -> None:
    rng = np.random.default_rng(seed)
    description = scenes.sample_description(rng, pool=tuple(scenes.all_things()))
    assert scenes.parse(scenes.describe(description, rng)) == description


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_a_scene_is_a_function_of_its_seed(seed: int) -> None:
    one, other = (scenes.sample_scene(np.random.default_rng(seed)) for _ in range(2))
    assert one == other
    assert (scenes.render(one)[0] == scenes.render(other)[0]).all()


@settings(max_examples=100, deadline=None)
@given(seed=seeds)
def test_masks_are_disjoint_inside_the_picture_and_show_every_thing(seed: int) -> None:
    scene = scenes.sample_scene(np.random.default_rng(seed))
    picture, masks = scenes.render(scene)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    assert masks.shape == (len(scene.description.things), 64, 64)
    assert masks.sum(axis=0).max() <= 1
    assert (masks.sum(axis=(1, 2)) > 60).all()


@settings(max_examples=100, deadline=None)
@given(seed=seeds)
def test_things_stand_as_the_relations_say(seed: int) -> None:
    scene = scenes.sample_scene(np.random.default_rng(seed))
    for relation in scene.description.relations:
        subject = scene.placements[relation.subject]
        for reference in (scene.placements[i] for i in relation.reference):
            dx, dy = subject.x - reference.x, subject.y - reference.y
            stands = {
                "left of": dx < 0,
                "right of": dx > 0,
                "above": dy < 0,
                "below": dy > 0,
                "next to": abs(dx) > abs(dy),
            }
            assert stands[relation.kind]


@settings(max_examples=200, deadline=None)
@given(seed=seeds)
def test_an_exchanged_attribute_changes_the_description(seed: int) -> None:
    rng = np.random.default_rng(seed)
    description = scenes.sample_description(rng)
    assert scenes.exchange_attribute(description, rng) != description


def test_some_combinations_are_held_out_of_training() -> None:
    assert set(scenes.HELD_OUT).isdisjoint(scenes.IN_TRAINING)
    assert len(scenes.HELD_OUT) + len(scenes.IN_TRAINING) == 8 * 5 * 3
    assert 6 <= len(scenes.HELD_OUT) <= 20
    rng = np.random.default_rng(0)
    drawn = {thing for _ in range(500) for thing in scenes.sample_description(rng).things}
    assert drawn.isdisjoint(scenes.HELD_OUT)


def test_captions_do_not_all_begin_with_one_word() -> None:
    firsts = [text.split()[0].lower() for text in scenes.built_in_prompts(500)]
    assert max(firsts.count(word) for word in set(firsts)) < 200


def test_the_built_in_prompts_are_distinct_and_always_the_same() -> None:
    prompts = scenes.built_in_prompts(2400)
    assert len(set(prompts)) == 2400
    assert prompts[:100] == scenes.built_in_prompts(100)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("a dog on a couch", "no coloured shape"),
        ("a red star on the moon", "no background"),
        ("a red star and a blue cross on a white wall", "no relation"),
    ],
)
def test_captions_of_another_grammar_are_named(text: str, missing: str) -> None:
    with pytest.raises(ValueError, match=f"{missing}.*{text}"):
        scenes.parse(text)
