"""Cut batches give what the full length gives (method §4.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evenhand.metrics.clip import ClipModel, tokenize
from evenhand.sampling.encode import can_be_cut, encode_prompts, lengths
from tests.helpers.tiny_clip import WIDTH, tiny_clip
from tests.helpers.tiny_models import WORDS, tiny_tokenizer

EOS = len(tiny_tokenizer()) - 1


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a large prompt set has it: a batch holds prompts of nearly one length."""
    monkeypatch.setattr("evenhand.sampling.encode.TOKENS_PER_BATCH", 120)


def captions(count: int, seed: int = 0) -> list[str]:
    """Captions of 1 to 30 words in no order of length; the last ones are longer than the context."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 31))) for _ in range(count)]
    texts[count // 2] = " ".join(rng.choice(WORDS, 75))  # fills the context exactly
    texts[-1] = " ".join(rng.choice(WORDS, 200))  # truncated by the tokenizer
    return texts


@torch.inference_mode()
def full_length(clip: ClipModel, texts: list[str]) -> np.ndarray:
    """open_clip's own ``encode_text`` at 77 tokens, one call a prompt."""
    return np.concatenate([clip.model.encode_text(tokenize(clip, [text])).numpy() for text in texts])


def assert_within(features: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-5 of each feature's norm."""
    assert features.shape == expected.shape
    assert np.isfinite(features).all()
    error = np.linalg.norm(features - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() < 1e-5


CAUSAL: list[dict[str, Any]] = [
    {},
    {"pool_type": "eos", "eos_id": EOS},
    {"proj_type": "linear", "proj_bias": True},
    {"proj_type": "none"},
    {"context_length": 40},
]


@pytest.mark.parametrize("text", CAUSAL, ids=str)
def test_a_causal_tower_is_cut_and_gives_the_full_length_features(text: dict[str, Any], tmp_path: Path) -> None:
    clip = tiny_clip(tmp_path / "clip", **text)
    assert can_be_cut(clip.model)
    texts = captions(60)
    assert_within(encode_prompts(texts, clip), full_length(clip, texts))


OTHER: list[dict[str, Any]] = [
    {"no_causal_mask": True},
    {"pool_type": "last"},
    {"pool_type": "first"},
    {"custom_text": True},
]


@pytest.mark.parametrize("text", OTHER, ids=str)
def test_any_other_tower_runs_at_full_length(text: dict[str, Any], tmp_path: Path) -> None:
    clip = tiny_clip(tmp_path / "clip", **text)
    assert not can_be_cut(clip.model)
    texts = captions(30)
    features = encode_prompts(texts, clip)
    assert_within(features, full_length(clip, texts))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipModel:
    return tiny_clip(tmp_path_factory.mktemp("encode") / "clip")


def test_a_bidirectional_tower_may_not_be_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof that the comparison above can fail: with its mask taken away, a cut tower is far off."""
    clip = tiny_clip(tmp_path / "clip")
    clip.model.attn_mask.zero_()
    assert not can_be_cut(clip.model)
    texts = captions(30)
    expected = full_length(clip, texts)
    assert_within(encode_prompts(texts, clip), expected)
    monkeypatch.setattr("evenhand.sampling.encode.can_be_cut", lambda model: True)
    error = np.linalg.norm(encode_prompts(texts, clip) - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() > 1e-2


def test_the_order_of_the_prompts_is_kept(clip: ClipModel) -> None:
    texts = captions(50)
    features = encode_prompts(texts, clip)
    order = np.random.default_rng(1).permutation(50)
    assert_within(encode_prompts([texts[i] for i in order], clip), features[order])


def test_features_are_float32_and_not_normalised(clip: ClipModel) -> None:
    features = encode_prompts(captions(20), clip)
    assert features.dtype == np.float32
    assert features.shape == (20, WIDTH)
    assert np.ptp(np.linalg.norm(features, axis=1)) > 1e-3


def test_many_batches_report_their_progress_and_agree_with_one(
    clip: ClipModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = captions(40)
    monkeypatch.setattr("evenhand.sampling.encode.TOKENS_PER_BATCH", 40 * 77)
    expected = encode_prompts(texts, clip)
    monkeypatch.setattr("evenhand.sampling.encode.TOKENS_PER_BATCH", 60)
    seen: list[tuple[int, int]] = []
    features = encode_prompts(texts, clip, progress=lambda done, total: seen.append((done, total)))
    assert_within(features, expected)
    assert len(seen) > 10
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (40, 40)


@pytest.mark.parametrize("tokens", [1, 60, 77, 500, 10**6])
def test_a_call_is_cut_to_its_longest_prompt_and_holds_no_more_than_it_should(
    clip: ClipModel, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    monkeypatch.setattr("evenhand.sampling.encode.TOKENS_PER_BATCH", tokens)
    shapes: list[tuple[int, int]] = []
    with clip.model.token_embedding.register_forward_pre_hook(lambda _, ids: shapes.append(tuple(ids[0].shape))):
        encode_prompts(captions(40), clip)
    longest = sorted(lengths(clip, tokenize(clip, captions(40))).tolist())
    done = 0
    for rows, length in shapes:
        assert rows * length <= tokens or rows == 1
        done += rows
        assert length == longest[done - 1]
    assert done == 40


def test_a_length_counts_both_ends_of_the_text(clip: ClipModel) -> None:
    ids = tokenize(clip, ["a red circle", "a", " ".join(["a"] * 200)])
    assert lengths(clip, ids).tolist() == [5, 3, 77]


def test_no_prompts_are_an_error(clip: ClipModel) -> None:
    with pytest.raises(ValueError, match="no prompts"):
        encode_prompts([], clip)
