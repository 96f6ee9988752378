"""The training recipe's parts: true targets, losses that vanish where they should, runs that resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

from evenhand.demo import scenes
from evenhand.demo.evaluate import CHECKPOINT
from evenhand.demo.scenes import Description, Placement, Relation, Scene, Thing
from evenhand.demo.training import clip, denoiser, text
from evenhand.demo.training.loop import Stage
from evenhand.demo.training.readouts import COLOURS, GROUNDS, SHAPES, targets

GROUND = len(COLOURS)


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(CHECKPOINT / "tokenizer")


def two_things() -> Scene:
    things = (Thing("circle", "red", "dotted"), Thing("square", "blue"))
    description = Description(things, "brown", (Relation(0, "left of", (1,)),))
    return Scene(description, (Placement(0.25, 0.5, 0.22), Placement(0.75, 0.5, 0.22)), ((0, 0, 0),) * 3)


def test_targets_say_what_stands_where() -> None:
    lone = Scene(Description((Thing("circle", "pink"),), "white"), (Placement(0.5, 0.5, 0.36),), ((0, 0, 0),) * 2)
    drawn = [lone, two_things()]
    truth = targets(drawn, [scenes.render(scene, 64)[1] for scene in drawn])
    assert truth.rows.tolist() == [0, 1, 1]
    assert [COLOURS[i] for i in truth.colours] == ["pink", "red", "blue"]
    assert [SHAPES[i] for i in truth.shapes] == ["circle", "circle", "square"]
    assert truth.places.tolist() == [[1, 1], [0, 1], [2, 1]]
    assert [GROUNDS[i] for i in truth.ground] == ["white", "brown"]
    red, blue = COLOURS.index("red"), COLOURS.index("blue")
    assert set(truth.layout[1, :, :2].flatten().tolist()) == {red, GROUND}
    assert set(truth.layout[1, :, 2:].flatten().tolist()) == {blue, GROUND}
    assert truth.patches[1, 4, 5] == blue
    assert truth.patch_things[1, 4, 5] == 2  # the third thing of the batch
    assert (truth.patch_things < 0).eq(truth.patches == GROUND).all()


def test_grounding_and_sink_vanish_where_the_attention_is_as_wanted() -> None:
    recorder = denoiser.Recorder()
    names = torch.zeros(1, 2, 77)
    names[0, 0, 3] = names[0, 1, 7] = 1.0
    coverage = torch.zeros(1, 2, 8, 8)
    coverage[0, 0, :, :4] = coverage[0, 1, :, 4:] = 1.0
    attention = torch.zeros(1, 8, 8, 77)
    attention[..., 0] = 0.9
    attention[:, :, :4, 3] = attention[:, :, 4:, 7] = 0.1
    recorder.weights = attention.flatten(1, 2)
    grounding, sink, seen = denoiser.attention_losses([recorder], names, coverage, torch.ones(1))
    assert float(grounding) == pytest.approx(0.0, abs=1e-2)
    assert float(sink) == 0.0
    assert seen["bos"] == pytest.approx(0.9)
    recorder.weights = attention.flip(2).flatten(1, 2)  # every patch looks at the other thing's word
    assert float(denoiser.attention_losses([recorder], names, coverage, torch.ones(1))[0]) > 3


def test_the_highest_noise_weighs_most_and_no_weight_is_extreme() -> None:
    weights = denoiser.noise_weight(denoiser.new_scheduler().alphas_cumprod, torch.arange(1000))
    assert (weights.diff() >= 0).all()
    assert 0 < float(weights[0]) < 1
    assert 50 < float(weights[-1]) < 100


def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    def trained(folder: Path, *steps: int) -> dict[str, torch.Tensor]:
        for last in steps:
            torch.manual_seed(3)
            model = clip.new_clip(tokenizer)
            stage = Stage(folder, "text", last, save_every=1, log_every=1)
            text.train_text(model, tokenizer, stage, batch=4, learning_rate=1e-3)
        return model.state_dict()

    whole, cut = trained(tmp_path / "whole", 4), trained(tmp_path / "cut", 2, 4)
    text_changed = False
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=1e-4, atol=1e-6)
        text_changed = text_changed or name.startswith("text_model")
    assert text_changed
    assert len((tmp_path / "cut" / "text.jsonl").read_text().splitlines()) == 4


def test_fitting_the_pictures_leaves_the_text_tower_alone(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = clip.new_clip(tokenizer)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    clip.fit_pictures(model, tokenizer, Stage(tmp_path, "pictures", 2), batch=4)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("text_model") for name in changed)
    assert any(name.startswith("vision_model") for name in changed)


def test_captions_of_the_text_stage_name_what_is_true(tokenizer: CLIPTokenizer) -> None:
    texts, truth = text.caption_batch(np.random.default_rng(0), 16)
    for row, caption in enumerate(texts):
        description = scenes.parse(caption)
        assert [COLOURS[i] for i in truth.colours[truth.rows == row]] == [t.colour for t in description.things]
        assert GROUNDS[truth.ground[row]] == description.background
