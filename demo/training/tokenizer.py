"""Train a byte-level BPE tokenizer in CLIP's format with one token per word of the caption grammar."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from evenhand.demo import scenes

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 77


def train_tokenizer(captions: int = 20_000, seed: int = 1) -> CLIPTokenizer:
    """Learn merges from captions until every word is one token; unknown words fall back to their bytes."""
    rng = np.random.default_rng(seed)
    thing_pool = tuple(scenes.all_things())
    corpus = [scenes.describe(scenes.sample_description(rng, pool=thing_pool), rng).lower() for _ in range(captions)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    learner.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=2000, end_of_word_suffix="</w>", initial_alphabet=alphabet)
    )
    merges = [tuple(pair) for pair in _merges(learner)]
    # CLIP's order: bytes, bytes that end a word, merges, then the two special tokens, so that the
    # end-of-text token has the highest id (open_clip pools at the argmax of the ids).
    tokens = [*alphabet, *(f"{byte}</w>" for byte in alphabet), *("".join(pair) for pair in merges), BOS, EOS]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT)


def _merges(learner: Tokenizer) -> list[list[str]]:
    import json

    merges = json.loads(learner.to_str())["model"]["merges"]
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """Load the tokenizer saved in ``folder``."""
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)  # nosec B615  # a folder of the training
    return tokenizer
