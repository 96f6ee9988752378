from __future__ import annotations

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from transformers import CLIPTokenizer

from evenhand.generation.guidance import SegmentationFree
from evenhand.generation.semantics import (
    END,
    GREYS,
    OTHER,
    PADDING,
    PALETTE,
    START,
    finest_modules,
    maps_of,
    most_frequent,
    overlay,
    token_names,
)
from evenhand.generation.trajectory import generate
from tests.helpers.runs import PROMPTS
from tests.helpers.tiny_models import tiny_tokenizer

grids = hnp.arrays(np.int16, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 9))
NAMES = [START, "red", "circle", "blue", "square", "star", "dog", "cat", "on", END]


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return tiny_tokenizer()


def test_every_position_has_a_name(tokenizer: CLIPTokenizer) -> None:
    names = token_names(tokenizer, "a red star above the red dog")
    assert names[:9] == [START, "a", "red", "star", "above", "the", "red (2)", "dog", END]
    assert names[9:] == [PADDING] * (77 - 9)


def test_a_word_of_several_tokens_is_named_in_pieces(tokenizer: CLIPTokenizer) -> None:
    assert token_names(tokenizer, "dog xy")[:5] == [START, "dog", "x", "y", END]


def test_a_prompt_that_fills_the_limit_has_no_padding(tokenizer: CLIPTokenizer) -> None:
    names = token_names(tokenizer, " ".join(["cat"] * 90))
    assert (len(names), names[1], names[75], names[76]) == (77, "cat", "cat (75)", END)


@given(st.lists(grids, min_size=1, max_size=4))
def test_the_combined_map_lies_on_the_finest_grid_and_names_what_some_map_names(maps: list[np.ndarray]) -> None:
    combined = most_frequent(maps)
    assert combined.size == max(grid.size for grid in maps)
    assert set(combined.flat) <= {int(token) for grid in maps for token in grid.flat}
    assert np.array_equal(most_frequent([combined, *[combined] * len(maps), *maps]), combined)  # its votes outweigh


def test_most_votes_win_and_coarse_maps_count_where_they_lie() -> None:
    fine = np.array([[1, 1, 2, 2], [1, 1, 2, 2]])
    coarse = np.array([[3, 2]])
    assert most_frequent([fine, coarse, coarse]).tolist() == [[3, 3, 2, 2], [3, 3, 2, 2]]
    assert most_frequent([fine, coarse]).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]  # a tie: the first token
    with pytest.raises(ValueError, match="no semantic map to combine"):
        most_frequent([])


def test_the_finest_modules_on_the_way_up_are_chosen() -> None:
    coarse, fine = np.zeros((1, 1, 2, 2), np.int16), np.zeros((1, 1, 4, 4), np.int16)
    modules = {"down_blocks.0.a": fine, "mid_block.a": coarse, "up_blocks.0.a": coarse, "up_blocks.1.a": fine}
    assert finest_modules({5: modules, 6: modules | {"up_blocks.1.b": fine}}) == ["up_blocks.1.a", "up_blocks.1.b"]
    assert finest_modules({5: {"x": coarse, "y": fine, "z": fine}}) == ["y", "z"]
    assert maps_of({5: modules}, 0, modules=["mid_block.a"])[0].shape == (2, 2)


def test_given_colours_are_kept_and_not_given_again() -> None:
    picture, tokens = np.zeros((2, 2, 3), np.uint8), np.array([[0, 1], [1, 1]])
    drawn = overlay(picture, tokens, ["red", "star"], opacity=1.0, side=2, colours={"red": PALETTE[0]})
    assert drawn[0, 0].tolist() == list(PALETTE[0])
    assert drawn[1, 1].tolist() == list(PALETTE[1])
    with_none = overlay(picture, tokens, ["red", "star"], opacity=1.0, side=2)
    assert with_none[0, 0].tolist() == list(PALETTE[1])  # the commonest word comes first


@given(grids, st.integers(1, 40), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=15, deadline=None)
def test_patches_are_painted_in_the_colour_of_their_token(tokens: np.ndarray, side: int, opacity: float) -> None:
    picture = np.full((12, 12, 3), 100, np.uint8)
    drawn = overlay(picture, tokens, NAMES, opacity=opacity, side=side)
    factor = max(1, round(side / 12))
    names = [NAMES[token] for token in tokens.flat]
    words = [name for name in dict.fromkeys(sorted(names, key=lambda name: -names.count(name))) if name not in GREYS]
    for row in range(tokens.shape[0]):
        for column in range(tokens.shape[1]):
            # The last pixel whose centre lies in the patch has no border above or to the left of it, if it has others.
            places = ((row, tokens.shape[0]), (column, tokens.shape[1]))
            bottom, right = (((i + 1) * 12 * factor - 1) // n for i, n in places)
            if 12 * factor // max(tokens.shape) < 3:
                continue
            name = NAMES[tokens[row, column]]
            at = words.index(name) if name in words else -1
            colour = np.array(GREYS[name] if name in GREYS else PALETTE[at] if at < len(PALETTE) else GREYS[OTHER])
            expected = (1 - opacity) * 100 + opacity * colour
            painted = drawn[bottom - 1, right - 1].astype(int)
            assert np.abs(painted - expected).max() <= 1


def test_the_legend_is_below_and_leaves_the_picture_whole() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    drawn = overlay(picture, np.array([[1, 2]]), NAMES, opacity=0.0, side=120)
    enlarged = picture.repeat(2, axis=0).repeat(2, axis=1)
    dark = np.abs(drawn[:80, :120].astype(int) - enlarged).max(axis=(0, 2)) > 1
    assert dark.nonzero()[0].tolist() == [60]  # the border between the two halves alone
    legend = drawn[80:]
    for colour in PALETTE[:2]:
        assert (legend == colour).all(axis=-1).sum() > 100
    assert not (legend == PALETTE[2]).all(axis=-1).any()


def test_colours_can_be_told_apart() -> None:
    everything = np.array([*PALETTE, *GREYS.values()], float)
    apart = np.abs(everything[:, None] - everything[None]).sum(axis=-1)
    assert (apart[~np.eye(len(everything), dtype=bool)] > 80).all()


def test_a_run_s_maps_are_drawn_with_the_tokens_that_it_chose(pipeline: StableDiffusionPipeline) -> None:
    arms = {"a": SegmentationFree(switch_after=1, heads="per_head", tokens="prompt")}
    result = generate(pipeline, PROMPTS, [1, 2], arms, steps=3, batch_size=2, semantic_maps=True)
    maps = result.semantic_maps["a"]
    assert len(maps_of(maps, 1)) == 2 * len(maps_of(maps, 1, [2])) == 2 * 2 * len(maps[2])  # two iterations, two heads
    combined = most_frequent(maps_of(maps, 1))
    assert combined.shape == (8, 8)
    names = token_names(pipeline.tokenizer, PROMPTS[1])
    assert {names[token] for token in combined.flat} <= {"a", "dog", "left", "of", "a (2)", "cat"}
    assert overlay(result.images["a"][1], combined, names).dtype == np.uint8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"picture": np.zeros((4, 4, 3))}, "a picture must be uint8"),
        ({"tokens": np.zeros((1, 4, 4), int)}, r"must be \(rows, columns\), not \(1, 4, 4\)"),
        ({"tokens": np.full((2, 2), 10)}, r"must lie in 0…9, not in 10…10"),
        ({"tokens": np.full((2, 2), -1)}, r"must lie in 0…9, not in -1…-1"),
        ({"opacity": 1.5}, r"opacity must lie in 0…1, not 1\.5"),
    ],
)
def test_what_cannot_be_drawn_is_named(changes: dict, message: str) -> None:
    good = {"picture": np.zeros((4, 4, 3), np.uint8), "tokens": np.zeros((2, 2), int), "names": NAMES}
    with pytest.raises(ValueError, match=message):
        overlay(**good | changes)
