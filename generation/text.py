"""Encode prompts in calls of one fixed size, find their own tokens, and report words that do not fit."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import islice

import torch
from diffusers import StableDiffusionPipeline

from evenhand.errors import InputError
from evenhand.generation.vocabulary import warn_of_unknown_words

NAMED = 3  # texts that one message names


class PromptTooLong(InputError):
    """Prompts that the tokenizer would cut; the message names them and the words."""


class PromptTruncated(UserWarning):
    """A prompt is longer than the tokenizer allows; the message names the words that the model does not see."""


def check_prompts(pipeline: StableDiffusionPipeline, prompts: Sequence[str], *, warn: bool = True) -> None:
    """Raise ValueError for a prompt without a word, naming it; warn (PromptTruncated) of those that are cut."""
    for index, prompt in enumerate(prompts):
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError(f"prompt {index} must be a text with at least one word, not {prompt!r}")
        if not bool(own_tokens(pipeline, prompt).any()):
            raise InputError(f"prompt {index} has no token that the model knows: {prompt!r}")
    if warn:
        warn_of_cut_words(pipeline, prompts)
        warn_of_unknown_words(pipeline, prompts)


def warn_of_cut_words(pipeline: StableDiffusionPipeline, prompts: Sequence[str]) -> None:
    """Warn (PromptTruncated) of every prompt that the tokenizer's limit cuts, naming the words."""
    for index, prompt in enumerate(prompts):
        lost_words = words_beyond_limit(pipeline, prompt)
        if lost_words:
            limit = pipeline.tokenizer.model_max_length
            message = f"prompt {index} is longer than the model's {limit} tokens; it does not see: {lost_words!r}"
            warnings.warn(message, PromptTruncated, stacklevel=4)


def refuse_long_prompts(pipeline: StableDiffusionPipeline, prompts: Iterable[str], kind: str = "prompt") -> None:
    """Raise PromptTooLong where the tokenizer's limit would cut a text, naming the first ones and what would be cut.

    prompts: any number, taken as a stream. kind: what the message calls them.
    """
    losses: list[str] = []
    numbered_prompts = enumerate(prompts)
    while part := list(islice(numbered_prompts, 1000)):
        texts = [_converted(pipeline, text) for _, text in part]
        lengths = map(len, pipeline.tokenizer(texts, truncation=False, verbose=False).input_ids)
        losses += [
            f"{kind} {index} would lose {_shortened(words_beyond_limit(pipeline, text))!r}"
            for (index, text), length in zip(part, lengths, strict=True)
            if length > pipeline.tokenizer.model_max_length
        ]
    if losses:
        more = f", and {len(losses) - NAMED} more" if len(losses) > NAMED else ""
        limit = pipeline.tokenizer.model_max_length
        raise PromptTooLong(f"the checkpoint reads {limit} tokens at most: {', '.join(losses[:NAMED])}{more}")


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def words_beyond_limit(pipeline: StableDiffusionPipeline, prompt: str) -> str:
    """Return the end of the prompt that the tokenizer's limit cuts off, as text; empty where nothing is cut."""
    tokenizer = pipeline.tokenizer
    ids = tokenizer(_converted(pipeline, prompt), truncation=False, verbose=False).input_ids
    text: str = tokenizer.decode(ids[tokenizer.model_max_length - 1 : -1])
    return text.strip()


def own_tokens(pipeline: StableDiffusionPipeline, prompt: str) -> torch.Tensor:
    """Bool (tokens,): the positions 0 < i < first end-of-text of the padded prompt (method §1.5)."""
    tokenizer = pipeline.tokenizer
    ids = tokenizer(
        _converted(pipeline, prompt),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids[0]
    other_tokens = (ids == tokenizer.eos_token_id).cumsum(dim=0) > 0
    other_tokens[0] = True
    return ~other_tokens


def encode_texts(pipeline: StableDiffusionPipeline, texts: Sequence[str], rows: int) -> torch.Tensor:
    """Compute text states (len(texts), tokens, width) with the pipeline's encoder in calls of exactly ``rows`` texts.

    The last call is padded by repeating its last text, so that a text's states do not depend on the other texts.
    """
    states = []
    for start in range(0, len(texts), rows):
        part = list(texts[start : start + rows])
        padded_part = part + part[-1:] * (rows - len(part))
        part_states, _ = pipeline.encode_prompt(padded_part, pipeline.device, 1, False)
        states.append(part_states[: len(part)])
    return torch.cat(states)


def _converted(pipeline: StableDiffusionPipeline, prompt: str) -> str:
    """Spell out the prompt's textual-inversion words, as ``encode_prompt`` does."""
    converted: str = pipeline.maybe_convert_prompt(prompt, pipeline.tokenizer)
    return converted
