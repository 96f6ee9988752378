"""Combine the predictions of a batch by a method's rule, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from evenhand.generation.methods.rows import Conditioning, Memory, Rule


def combine_pictures(
    rule: Rule,
    predictions: Mapping[Conditioning, torch.Tensor],
    memories: Sequence[Memory],
    noise: Callable[[int], torch.Tensor],
) -> tuple[torch.Tensor, list[Memory]]:
    """Return the guided predictions (b, C, h, w) and what the rule keeps of each picture.

    predictions: for each row (b, C, h, w). memories: each picture's, or none at the start.
    noise: standard normal noise (C, h, w) for the picture at an index, float32 on the CPU.

    A rule that is not elementwise gets each picture by itself: sums over a batch may be taken in another order than
    over one picture, and a picture's last bits would then depend on its companions.
    """
    if rule.elementwise:
        return rule.combine(predictions, {}, _no_noise).prediction, []
    pictures = len(next(iter(predictions.values())))
    guided = [
        rule.combine(
            {row: prediction[index] for row, prediction in predictions.items()},
            memories[index] if memories else {},
            _noise_like(predictions, noise, index),
        )
        for index in range(pictures)
    ]
    return torch.stack([each.prediction for each in guided]), [each.memory for each in guided]


def _noise_like(
    predictions: Mapping[Conditioning, torch.Tensor], noise: Callable[[int], torch.Tensor], index: int
) -> Callable[[], torch.Tensor]:
    """Return the picture's noise in the predictions' dtype and on their device."""
    return lambda: noise(index).to(next(iter(predictions.values())))


def _no_noise() -> torch.Tensor:
    raise RuntimeError("an elementwise rule draws no noise")
