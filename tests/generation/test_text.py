from __future__ import annotations

import warnings

import pytest
import torch
from diffusers import StableDiffusionPipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.generation.guidance import ClassifierFree, SegmentationFree
from evenhand.generation.text import (
    PromptTooLong,
    PromptTruncated,
    check_prompts,
    encode_texts,
    own_tokens,
    refuse_long_prompts,
    words_beyond_limit,
)
from evenhand.generation.trajectory import generate
from tests.helpers.tiny_models import WORDS

sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=75)


@given(sentences)
@settings(max_examples=30, deadline=None)
def test_a_prompts_own_tokens_are_its_words(pipeline: StableDiffusionPipeline, words: list[str]) -> None:
    """Every word of the tiny vocabulary is one token: 0 < i ≤ number of words."""
    own = own_tokens(pipeline, " ".join(words))
    assert own.dtype == torch.bool
    assert own.nonzero().flatten().tolist() == list(range(1, len(words) + 1))
    assert len(own) == 77


def test_letters_are_tokens_where_the_vocabulary_has_no_word(pipeline: StableDiffusionPipeline) -> None:
    assert int(own_tokens(pipeline, "a zzz dog").sum()) == 5


def test_a_prompt_that_fills_the_limit_is_all_its_own(pipeline: StableDiffusionPipeline) -> None:
    full, beyond = " ".join(["dog"] * 75), " ".join(["dog"] * 75 + ["cat"])
    for prompt in (full, beyond):
        assert own_tokens(pipeline, prompt).nonzero().flatten().tolist() == list(range(1, 76))
    assert words_beyond_limit(pipeline, full) == ""
    assert words_beyond_limit(pipeline, beyond) == "cat"


def test_words_that_are_cut_are_named_in_a_warning(pipeline: StableDiffusionPipeline) -> None:
    long = " ".join(["dog"] * 75 + ["red", "star"])
    with pytest.warns(PromptTruncated, match="prompt 1 is longer than the model's 77 tokens.*'red star'") as caught:
        check_prompts(pipeline, ["a cat", long])
    assert len(caught) == 1
    with pytest.warns(PromptTruncated, match="prompt 0"):
        generate(pipeline, [long], [1], {"cfg": ClassifierFree()}, steps=1, batch_size=1)


def test_cut_words_of_negative_prompts_are_named_too(pipeline: StableDiffusionPipeline) -> None:
    long = " ".join(["dog"] * 75 + ["red", "star"])
    for arm in (ClassifierFree(negative_prompt=long), SegmentationFree(opening=ClassifierFree(negative_prompt=long))):
        with pytest.warns(PromptTruncated, match="^negative prompt 0 is longer .*'red star'") as caught:
            generate(pipeline, ["a cat"], [1], {"arm": arm}, steps=2, batch_size=1)
        assert len(caught) == 1


def test_long_prompts_are_refused_with_the_words_that_would_be_cut(pipeline: StableDiffusionPipeline) -> None:
    full = " ".join(["dog"] * 75)
    refuse_long_prompts(pipeline, [])
    refuse_long_prompts(pipeline, iter([full, "", "a cat"]))
    with pytest.raises(PromptTooLong, match=r"reads 77 tokens at most: prompt 1 would lose 'red star'$"):
        refuse_long_prompts(pipeline, iter(["a cat", f"{full} red star"]))
    many = ["a cat"] * 1500 + [f"{full} {word}" for word in ("red", "star", "cat", "on", "blue")]
    with pytest.raises(PromptTooLong) as caught:
        refuse_long_prompts(pipeline, many, "negative prompt")
    assert "negative prompt 1500 would lose 'red'" in str(caught.value)
    assert "prompt 1502 would lose 'cat', and 2 more" in str(caught.value)
    with pytest.raises(PromptTooLong, match="…") as caught:
        refuse_long_prompts(pipeline, [" ".join(["dog"] * 300)])
    assert len(str(caught.value)) < 200


def test_prompts_that_fit_warn_of_nothing(pipeline: StableDiffusionPipeline) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_prompts(pipeline, ["a cat", " ".join(["dog"] * 75)])


@pytest.mark.parametrize("prompt", ["", "  \n", None, 7])
def test_prompts_without_a_word_are_refused_by_number(pipeline: StableDiffusionPipeline, prompt: object) -> None:
    with pytest.raises(ValueError, match="prompt 1 ") as caught:
        check_prompts(pipeline, ["a cat", prompt])  # type: ignore[list-item]
    assert repr(prompt) in str(caught.value)


@given(st.lists(sentences.map(" ".join), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_texts_are_encoded_as_the_pipeline_does_whatever_their_companions(
    pipeline: StableDiffusionPipeline, texts: list[str], rows: int
) -> None:
    with torch.no_grad():
        together = encode_texts(pipeline, texts, rows)
        for states, text in zip(together.states, texts, strict=True):
            assert torch.equal(states, encode_texts(pipeline, [text], rows).states[0])
            theirs, _ = pipeline.encode_prompt(text, "cpu", 1, False)
            torch.testing.assert_close(states, theirs[0], rtol=0, atol=1e-5)
    assert together.states.shape == (len(texts), 77, 32)


def test_the_empty_text_is_the_pipelines_own_negative(pipeline: StableDiffusionPipeline) -> None:
    with torch.no_grad():
        _, negative = pipeline.encode_prompt(["a dog"], "cpu", 1, True)
        assert torch.equal(encode_texts(pipeline, [""], 1).states, negative)


def test_learned_words_count_with_all_their_vectors(stock: StableDiffusionPipeline) -> None:
    """Textual inversion: a word of two vectors is two tokens, for the network and for the prompt's own."""
    vectors = torch.randn((2, 32), generator=torch.Generator().manual_seed(1))
    stock.load_textual_inversion({"<ada>": vectors})
    assert own_tokens(stock, "a <ada> dog").nonzero().flatten().tolist() == [1, 2, 3, 4]
    arms = {"a": SegmentationFree(switch_after=0, tokens="prompt")}
    result = generate(stock, ["<ada>"], [1], arms, steps=1, batch_size=1, semantic_maps=True)
    assert {int(token) for grid in result.semantic_maps["a"][0].values() for token in grid.flatten()} <= {1, 2}
