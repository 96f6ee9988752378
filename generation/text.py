"""Encode prompts in calls of one fixed size, find their own tokens, and report words that do not fit."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from evenhand.errors import InputError
from evenhand.generation.arguments import picture_size
from evenhand.generation.kinds.base import Conditions, joined
from evenhand.generation.kinds.registry import Pipeline, kind_of
from evenhand.generation.methods.rows import Conditioning
from evenhand.generation.plan import asks_for_own_tokens, negative_prompts
from evenhand.generation.vocabulary import warn_of_unknown_words

NAMED = 3  # texts that one message names


class PromptTooLong(InputError):
    """Prompts that the tokenizer would cut; the message names them and the words."""


class TokensDiffer(InputError):
    """Prompts that two tokenizers of a checkpoint divide differently; the message names them."""


class PromptTruncated(UserWarning):
    """A prompt is longer than the tokenizer allows; the message names the words that the model does not see."""


@dataclass(frozen=True)
class Texts:
    """Encoded texts of one batch of b pictures."""

    prompts: Conditions  # of b rows
    negatives: Mapping[str, Conditions]  # text -> conditions of one row
    own_tokens: torch.Tensor | None = None  # (b, tokens) bool; None where no row asks for them


def check_prompts(pipeline: Pipeline, prompts: Sequence[str], *, warn: bool = True) -> None:
    """Raise ValueError for a prompt without a word, naming it; warn (PromptTruncated) of those that are cut."""
    for index, prompt in enumerate(prompts):
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError(f"prompt {index} must be a text with at least one word, not {prompt!r}")
        if not bool(_own_tokens(pipeline, pipeline.tokenizer, prompt).any()):
            raise InputError(f"prompt {index} has no token that the model knows: {prompt!r}")
    if warn:
        warn_of_cut_words(pipeline, prompts)
        warn_of_unknown_words(pipeline, prompts)


def warn_of_cut_words(pipeline: Pipeline, texts: Sequence[str], kind: str = "prompt") -> None:
    """Warn (PromptTruncated) of every text that a tokenizer's limit cuts, naming the words.

    kind: what the message calls the texts.
    """
    for index, text in enumerate(texts):
        lost_words = words_beyond_limit(pipeline, text)
        if lost_words:
            limit = pipeline.tokenizer.model_max_length
            message = f"{kind} {index} is longer than the model's {limit} tokens; it does not see: {lost_words!r}"
            warnings.warn(message, PromptTruncated, stacklevel=4)


def refuse_long_prompts(pipeline: Pipeline, prompts: Iterable[str], kind: str = "prompt") -> None:
    """Raise PromptTooLong where a tokenizer's limit would cut a text, naming the first ones and what would be cut.

    prompts: any number, taken as a stream. kind: what the message calls them.
    """
    losses: list[str] = []
    numbered_prompts = enumerate(prompts)
    while part := list(islice(numbered_prompts, 1000)):
        cut = {place for tokenizer in _tokenizers(pipeline) for place in _cut(pipeline, tokenizer, part)}
        losses += [
            f"{kind} {index} would lose {_shortened(words_beyond_limit(pipeline, text))!r}"
            for place, (index, text) in enumerate(part)
            if place in cut
        ]
    if losses:
        limit = pipeline.tokenizer.model_max_length
        raise PromptTooLong(f"the checkpoint reads {limit} tokens at most: {_first_named(losses)}")


def refuse_differing_tokens(pipeline: Pipeline, prompts: Iterable[str]) -> None:
    """Raise TokensDiffer where the tokenizers give a prompt's own tokens different places, naming the first ones.

    The two of Stable Diffusion XL divide letters alike, but the second one reads each exclamation mark as a token.
    """
    if len(_tokenizers(pipeline)) == 1:
        return
    differing = [
        f"prompt {index} {_shortened(prompt)!r}" for index, prompt in enumerate(prompts) if _differ(pipeline, prompt)
    ]
    if differing:
        raise TokensDiffer(
            f"the checkpoint's {' and '.join(kind_of(pipeline).tokenizers)} divide a prompt into different tokens, so"
            f" that its own tokens have no one place (tokens='prompt'): {_first_named(differing)}"
        )


def _first_named(texts: Sequence[str]) -> str:
    more = f", and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def words_beyond_limit(pipeline: Pipeline, prompt: str) -> str:
    """Return the end of the prompt that a tokenizer's limit cuts off, as text; empty where nothing is cut.

    Of several tokenizers the one that cuts most.
    """
    ends = []
    for tokenizer in _tokenizers(pipeline):
        ids = tokenizer(_converted(pipeline, tokenizer, prompt), truncation=False, verbose=False).input_ids
        text: str = tokenizer.decode(ids[tokenizer.model_max_length - 1 : -1])
        ends.append(text.strip())
    return max(ends, key=len)


def own_tokens(pipeline: Pipeline, prompt: str) -> torch.Tensor:
    """Bool (tokens,): the positions 0 < i < first end-of-text of the padded prompt (method §1.5).

    Raises TokensDiffer where the tokenizers of the pipeline do not agree on them.
    """
    refuse_differing_tokens(pipeline, [prompt])
    return _own_tokens(pipeline, pipeline.tokenizer, prompt)


def encode_rows(
    pipeline: Pipeline, prompts: Sequence[str], rows: Iterable[Conditioning], batch_size: int, size: tuple[int, int]
) -> Texts:
    """Encode all texts that the network rows of one batch need, in calls of ``batch_size`` texts.

    rows: what the network is asked for. size: height and width of the pictures in pixels.
    """
    rows = list(rows)
    negatives = negative_prompts(rows)
    encoded = encode_texts(pipeline, negatives, batch_size, size) if negatives else None
    own = torch.stack([own_tokens(pipeline, each) for each in prompts]) if asks_for_own_tokens(rows) else None
    return Texts(
        encode_texts(pipeline, prompts, batch_size, size),
        {text: encoded.row(index) for index, text in enumerate(negatives)} if encoded else {},
        own,
    )


def encode_texts(
    pipeline: Pipeline, texts: Sequence[str], rows: int, size: tuple[int, int] | None = None
) -> Conditions:
    """Compute the conditions of texts with the pipeline's encoders in calls of exactly ``rows`` texts.

    The last call is padded by repeating its last text, so that a text's states do not depend on the other texts.
    size: height and width of the pictures in pixels; by default the checkpoint's own.
    """
    kind, size = kind_of(pipeline), size or picture_size(pipeline, None, None)
    parts = []
    for start in range(0, len(texts), rows):
        part = list(texts[start : start + rows])
        padded_part = part + part[-1:] * (rows - len(part))
        parts.append(kind.encode(padded_part, size).rows(slice(len(part))))
    return joined(parts)


def _tokenizers(pipeline: Pipeline) -> list[Any]:
    return [getattr(pipeline, part) for part in kind_of(pipeline).tokenizers]


def _cut(pipeline: Pipeline, tokenizer: Any, numbered: Sequence[tuple[int, str]]) -> list[int]:
    """Return the places in the list of the texts that the tokenizer cuts."""
    texts = [_converted(pipeline, tokenizer, text) for _, text in numbered]
    lengths = map(len, tokenizer(texts, truncation=False, verbose=False).input_ids)
    return [place for place, length in enumerate(lengths) if length > tokenizer.model_max_length]


def _differ(pipeline: Pipeline, prompt: str) -> bool:
    first, *others = (_own_tokens(pipeline, tokenizer, prompt) for tokenizer in _tokenizers(pipeline))
    return any(not torch.equal(first, other) for other in others)


def _own_tokens(pipeline: Pipeline, tokenizer: Any, prompt: str) -> torch.Tensor:
    ids = tokenizer(
        _converted(pipeline, tokenizer, prompt),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids[0]
    other_tokens = (ids == tokenizer.eos_token_id).cumsum(dim=0) > 0
    other_tokens[0] = True
    return ~other_tokens


def _converted(pipeline: Pipeline, tokenizer: Any, prompt: str) -> str:
    """Spell out the prompt's textual-inversion words, as ``encode_prompt`` does."""
    converted: str = pipeline.maybe_convert_prompt(prompt, tokenizer)
    return converted
