"""Words outside a small checkpoint's list: named in a warning, never an error."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from evenhand.generation.checkpoint import load_pipeline
from evenhand.generation.guidance import ClassifierFree
from evenhand.generation.pipeline import SegmentationFreeStableDiffusionPipeline
from evenhand.generation.trajectory import generate
from evenhand.generation.vocabulary import UnknownWords, described, known_words, unknown_words

DEMO = Path(__file__).parents[2] / "demo" / "checkpoint"


def test_unknown_words_are_counted_by_prompts_whatever_their_case() -> None:
    known = frozenset({"a", "red", "star"})
    prompts = ["A red Star", "A corgi, a CORGI!", "corgi's star-fish 7"]
    assert unknown_words(prompts, known) == {"7": 1, "corgi": 1, "corgi's": 1, "star-fish": 1}
    assert unknown_words([*prompts, "the corgi"], known)["corgi"] == 2


def test_a_long_list_is_counted_not_told() -> None:
    assert described({f"w{i}": 1 for i in range(14)}).endswith("w11 and 2 more")
    assert described({"corgi": 3}) == "corgi"


def test_a_tokenizer_without_a_list_knows_everything(tmp_path: Path) -> None:
    assert known_words(tmp_path) is None
    (tmp_path / "words.txt").write_text("red\nstar\n")
    assert known_words(tmp_path) == frozenset({"red", "star"})


def test_generating_warns_and_goes_on() -> None:
    pipeline = load_pipeline(str(DEMO), device="cpu", dtype=torch.float32)
    with pytest.warns(UnknownWords, match=r"does not know: corgi, hugs\. It knows the words in .*words\.txt"):
        made = generate(pipeline, ["A corgi hugs a red star"], [1], {"cfg": ClassifierFree(2.0)}, steps=2)
    assert made.images["cfg"].shape == (1, 64, 64, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownWords)
        generate(pipeline, ["A red star on a white wall"], [1], {"cfg": ClassifierFree(2.0)}, steps=2)


def test_the_pipeline_class_warns_too() -> None:
    pipeline = SegmentationFreeStableDiffusionPipeline.from_pretrained(DEMO, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    with pytest.warns(UnknownWords, match="unicorn"):
        pipeline("Red unicorn", num_inference_steps=2, output_type="np")
