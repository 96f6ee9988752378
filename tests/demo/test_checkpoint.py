"""The model that ships: it loads both ways, is small, and its pictures show what their prompts say."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from evenhand.demo import evaluate, measures, scenes
from evenhand.demo.training import export
from evenhand.generation.checkpoint import load_pipeline
from evenhand.generation.guidance import ClassifierFree, SegmentationFree, from_dict
from evenhand.generation.trajectory import generate
from evenhand.metrics.clip import ClipModel, clip_scores, load_clip

CHECKPOINT = Path(evaluate.CHECKPOINT)
STUDY = json.loads((CHECKPOINT / "study.json").read_text())


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return load_pipeline(str(CHECKPOINT), device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def clip() -> ClipModel:
    return load_clip(str(CHECKPOINT / "clip"))


def test_it_is_small_and_half_precision() -> None:
    files = [path for path in CHECKPOINT.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 32e6
    assert {path.suffix for path in files if path.stat().st_size > 100_000} == {".safetensors"}


def test_diffusers_loads_it_without_us() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = StableDiffusionPipeline.from_pretrained(CHECKPOINT, dtype=torch.float32)
    stock.set_progress_bar_config(disable=True)
    picture = stock("Red star on a white wall", num_inference_steps=2, output_type="np").images[0]
    assert picture.shape == (64, 64, 3)


def test_transformers_and_open_clip_agree_on_its_clip(clip: ClipModel) -> None:
    model = CLIPModel.from_pretrained(CHECKPOINT / "clip", dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(CHECKPOINT / "clip")
    texts = scenes.built_in_prompts(4)
    ids = tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids
    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert (clip.tokenizer(texts) == ids).all()
        text = model.text_projection(model.text_model(input_ids=ids).pooler_output)
        torch.testing.assert_close(clip.model.encode_text(ids), text, rtol=1e-4, atol=1e-4)
        image = model.visual_projection(model.vision_model(pixel_values=pictures).pooler_output)
        torch.testing.assert_close(clip.model.encode_image(pictures), image, rtol=1e-4, atol=1e-4)


def test_its_clip_prefers_the_matching_caption(clip: ClipModel) -> None:
    rng = np.random.default_rng(7)
    drawn = [scenes.sample_scene(rng) for _ in range(200)]
    pictures = [scenes.render(scene)[0] for scene in drawn]
    right = clip_scores(pictures, [scenes.describe(s.description, rng) for s in drawn], clip)
    wrong = clip_scores(
        pictures, [scenes.describe(scenes.exchange_attribute(s.description, rng), rng) for s in drawn], clip
    )
    assert np.mean(right > wrong) >= 0.95


def test_its_pictures_show_what_their_prompts_say(pipeline: StableDiffusionPipeline) -> None:
    """Lowered bars on 64 held-out prompts; the model card carries the measured rates."""
    captions = evaluate.held_out_captions(64)
    baseline = from_dict(STUDY["baseline"])
    made = generate(pipeline, captions, list(range(64)), {"baseline": baseline}, steps=20)
    rates = measures.judged(made.images["baseline"], captions)
    assert rates["background"].share >= 0.8
    assert rates["colour"].share >= 0.9
    assert rates["bound"].share >= 0.85
    assert rates["place"].share >= 0.85
    assert rates["all, one thing"].share >= 0.8


def test_the_card_carries_what_was_measured() -> None:
    found = json.loads((CHECKPOINT / "evaluation.json").read_text())
    assert found["prompts"] >= 300
    card = (CHECKPOINT / "README.md").read_text()
    assert f"{evaluate.BEGIN.format('')}\n{evaluate.report(found)}\n{evaluate.END}" in card
    baseline = from_dict(STUDY["baseline"])
    assert isinstance(baseline, ClassifierFree)
    assert f"CFG w={baseline.strength:g}" in found["arms"]
    for candidate in map(from_dict, STUDY["candidates"]):
        assert isinstance(candidate, SegmentationFree)
        switch = candidate.switch_after
        assert f"SFG a={candidate.scale:g} w̄={candidate.strength:g} t_s={switch}" in found["arms"]


def test_the_demo_study_compares_two_segmentation_free_arms_with_its_baseline() -> None:
    candidates = [from_dict(data) for data in STUDY["candidates"]]
    assert len(candidates) == 2
    assert all(isinstance(c, SegmentationFree) and c.opening == from_dict(STUDY["baseline"]) for c in candidates)


def test_the_configurations_declare_one_dtype() -> None:
    """transformers loads in the declared dtype and diffusers in float32, so both must be float32."""
    for part in ("text_encoder", "clip"):
        text = (CHECKPOINT / part / "config.json").read_text()
        assert set(re.findall(r'"(?:torch_)?dtype": "(\w+)"', text)) == {"float32"}


def test_all_parts_are_loaded_in_one_dtype() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = StableDiffusionPipeline.from_pretrained(CHECKPOINT)
    assert {part.dtype for part in (stock.vae, stock.text_encoder, stock.unet)} == {torch.float32}


def test_the_exporter_declares_float32(tmp_path: Path) -> None:
    config = CLIPConfig(dtype="float16", text_config={"dtype": "float16"}, vision_config={"dtype": "float16"})
    config.save_pretrained(tmp_path)
    export.declare_float32(tmp_path / "config.json")
    text = (tmp_path / "config.json").read_text()
    assert "float16" not in text
    assert json.loads(text)["dtype"] == "float32"
