"""Tokens of prompts, counted without torch as the checkpoint's own tokenizer counts them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, CLIPTokenizer

from evenhand.sampling.tokens import cut_by_any, load_counter
from tests.helpers.tiny_models import tiny_xl_pipeline

DEMO = Path(__file__).resolve().parents[2] / "demo" / "checkpoint"


def older_checkpoint(folder: Path) -> Path:
    """A checkpoint with CLIP's two files alone, as Stable Diffusion 1.5 has them: bytes, and some merges."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    merges = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>"), ("t", "h"), ("th", "e</w>"), ("!", "!</w>")]
    tokens = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *map("".join, merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    (folder / "tokenizer").mkdir(parents=True)
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "tokenizer" / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 12}), encoding="utf-8")
    return folder


def test_the_demos_tokens_are_those_of_its_tokenizer() -> None:
    counter = load_counter(DEMO)
    assert counter is not None
    assert counter.limit == 77
    texts = ["a red circle", "Zebras, hybrid of a BAT and a cat!", "", "red cube " * 90]
    expected = [len(ids) for ids in AutoTokenizer.from_pretrained(DEMO / "tokenizer")(texts).input_ids]
    assert counter.lengths(texts) == expected
    assert counter.cut(texts) == [False, False, False, True]
    assert cut_by_any(texts, []) == [False] * 4
    assert cut_by_any(texts, [counter]) == [False, False, False, True]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=4))
def test_clips_two_files_give_the_tokens_of_transformers(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = older_checkpoint(tmp_path_factory.mktemp("older"))
    counter = load_counter(folder)
    assert counter is not None
    texts = [*texts, "the cat's dog, 12 dogs"]
    expected = CLIPTokenizer.from_pretrained(folder / "tokenizer")(texts).input_ids
    assert counter.lengths(texts) == [len(ids) for ids in expected]
    assert counter.limit == 12


MARK = {"content": "!", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
END = "<|endoftext|>"


@pytest.mark.parametrize(
    ("config", "special", "tokens"),
    [
        ({}, {}, 5),  # start, a, cat, !!, end
        ({"pad_token": END}, {"pad_token": END}, 5),  # Stable Diffusion 1
        ({"pad_token": END}, {"pad_token": "!"}, 6),  # Stable Diffusion 2
        ({"pad_token": END}, {"pad_token": MARK}, 6),
        (
            {"pad_token": "!", "added_tokens_decoder": {"0": MARK | {"special": True}}},
            {"pad_token": END},
            6,
        ),  # XL's 2nd
        ({"pad_token": MARK | {"__type": "AddedToken"}}, {}, 6),
    ],
)
def test_a_token_that_fills_up_is_read_as_one_wherever_it_stands(
    tmp_path: Path, config: dict[str, object], special: dict[str, object], tokens: int
) -> None:
    """As transformers reads it."""
    folder = older_checkpoint(tmp_path)
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 12} | config))
    if special:
        (folder / "tokenizer" / "special_tokens_map.json").write_text(json.dumps(special))
    counter = load_counter(folder)
    assert counter is not None
    texts = ["a cat!!", "a cat!", "! ! dog", "the dog !!!!"]
    expected = [len(ids) for ids in CLIPTokenizer.from_pretrained(folder / "tokenizer")(texts).input_ids]
    assert counter.lengths(texts) == expected
    assert expected[0] == tokens


def test_of_two_tokenizers_the_longer_reading_counts(tmp_path: Path) -> None:
    xl = tiny_xl_pipeline()
    for name in ("tokenizer", "tokenizer_2"):
        getattr(xl, name).save_pretrained(tmp_path / name)
    counter = load_counter(tmp_path)
    assert counter is not None
    assert counter.lengths(["a dog", "a dog!!"]) == [4, 6]  # the first tokenizer has one token for "!!"
    assert counter.limit == 77
    for file in (tmp_path / "tokenizer_2").iterdir():
        file.unlink()
    assert load_counter(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{}", "[1]", "[" * 5000, "\ud83d"])
def test_a_folder_without_a_usable_tokenizer_has_no_counter(tmp_path: Path, content: str) -> None:
    assert load_counter(tmp_path) is None
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(content, encoding="utf-8", errors="replace")
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text(content, encoding="utf-8", errors="replace")
    assert load_counter(tmp_path) is None


def test_counting_loads_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from evenhand.sampling.tokens import load_counter\n"
        f"print(load_counter(Path({str(DEMO)!r})).lengths(['a red circle']), 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=DEMO.parents[1])
    assert run.stdout.split()[-1] == "False", run.stderr
