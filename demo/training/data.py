"""Draw batches of rendered scenes by (seed, step), and find the tokens of a caption's things."""

from __future__ import annotations

import numpy as np
import torch
from transformers import CLIPTokenizer

from evenhand.demo import scenes

SIZE = 64
CONTEXT = 77


def step_rng(seed: int, step: int) -> np.random.Generator:
    """Create one generator per step, so that a resumed run uses the same data."""
    return np.random.default_rng([seed, step])


def to_tensor(pictures: list[np.ndarray]) -> torch.Tensor:
    """Convert uint8 (H, W, 3) pictures to float32 (B, 3, H, W) in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return stacked.float() / 127.5 - 1.0


def rendered_batch(rng: np.random.Generator, count: int) -> tuple[torch.Tensor, list[scenes.Scene]]:
    """Draw ``count`` random scenes and render their pictures, float32 (count, 3, 64, 64) in [-1, 1]."""
    random_scenes = [scenes.sample_scene(rng) for _ in range(count)]
    return to_tensor([scenes.render(scene, SIZE)[0] for scene in random_scenes]), random_scenes


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Convert texts to token ids, int64 (B, 77), padded with the end-of-text token."""
    encoded = tokenizer(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
    ids: torch.Tensor = encoded.input_ids
    return ids


def token_groups(tokenizer: CLIPTokenizer, text: str) -> list[list[int]]:
    """Return the positions of the naming tokens of each thing of a caption, then of its background."""
    offsets = tokenizer(text, return_offsets_mapping=True).offset_mapping
    spans = [*scenes.thing_spans(text), scenes.background_span(text)]
    return [
        [i for i, (start, end) in enumerate(offsets) if start < end and low <= start and end <= high]
        for low, high in spans
    ]
