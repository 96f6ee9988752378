"""The card's measures on pictures whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from evenhand.demo import judge, measures, scenes
from evenhand.demo.evaluate import held_out_captions, markdown, plain
from evenhand.demo.measures import Rate


def two(first: scenes.Thing, second: scenes.Thing) -> scenes.Description:
    return scenes.Description((first, second), "white", (scenes.Relation(0, "left of", (1,)),))


def drawn(description: scenes.Description) -> np.ndarray:
    return scenes.render(scenes.place(description, np.random.default_rng(0)))[0]


def test_renders_are_right_and_leak_nothing() -> None:
    captions = held_out_captions(60)
    found = measures.judged(measures.rendered(captions), captions)
    for kind in ("colour", "shape", "surface", "bound", "place", "background", "all"):
        assert found[kind].share >= 0.97, kind
    assert found["leakage"].share <= 0.03
    assert found["leakage"].total > 10


def test_an_exchanged_colour_and_a_taken_surface_are_leaks() -> None:
    wanted = two(scenes.Thing("star", "red"), scenes.Thing("square", "blue"))
    swapped = two(scenes.Thing("star", "blue"), scenes.Thing("square", "red"))
    assert judge.leakage(drawn(wanted), wanted) is False
    assert judge.leakage(drawn(swapped), wanted) is True
    plain_one = two(scenes.Thing("square", "red"), scenes.Thing("square", "blue", "striped"))
    taken = two(scenes.Thing("square", "red", "striped"), scenes.Thing("square", "blue", "striped"))
    assert judge.leakage(drawn(plain_one), plain_one) is False
    assert judge.leakage(drawn(taken), plain_one) is True


def test_one_thing_alone_has_nothing_to_take() -> None:
    alone = scenes.Description((scenes.Thing("star", "red"),), "white")
    assert judge.leakage(drawn(alone), alone) is None


def test_a_rate_carries_wilsons_interval() -> None:
    # 8 of 10: centre and margin of Wilson (1927) by hand, z = 1.959964
    low, high = Rate(8, 10).interval()
    assert low == pytest.approx(0.49016, abs=1e-4)
    assert high == pytest.approx(0.94332, abs=1e-4)
    assert str(Rate(8, 10)) == "80 (49–94)"
    assert str(Rate(0, 0)) == "–"


def test_sharpness_orders_pictures() -> None:
    from scipy import ndimage

    renders = measures.rendered(held_out_captions(10))
    blurred = np.stack([ndimage.gaussian_filter(picture, (1.5, 1.5, 0)) for picture in renders])
    assert measures.sharpness(blurred) < 0.8 * measures.sharpness(renders)
    assert measures.sharpness(np.full((2, 64, 64, 3), 7, np.uint8)) == 0.0


def test_a_contact_sheet_has_a_row_an_arm_at_integer_scale() -> None:
    pictures = {"a": np.zeros((5, 8, 8, 3), np.uint8), "b": np.full((5, 8, 8, 3), 9, np.uint8)}
    sheet = measures.contact_sheet(pictures, 4, scale=3)
    assert sheet.shape == (48, 96, 3)
    assert sheet[:24].max() == 0
    assert sheet[24:].min() == 9


def test_the_table_survives_as_markdown_and_json() -> None:
    row = {kind: Rate(1, 2) for kind in measures.KINDS} | {"sharpness": 0.9, "distance": 3.21}
    text = markdown({"CFG w=2": row})
    assert "| CFG w=2 | 50 (9–91) |" in text
    assert plain({"CFG w=2": row})["CFG w=2"]["colour"] == {"hits": 1, "total": 2}
