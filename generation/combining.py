"""Combine the predictions of a batch by a method's rule, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from evenhand.generation.methods.rows import Conditioning, Memory, Moment, Rule


@dataclass(frozen=True)
class Combined:
    """What a rule makes of a batch: guided predictions (b, C, h, w), and those to take noise from, if other ones.

    memories: what the rule keeps of each picture; empty where it keeps nothing.
    """

    prediction: torch.Tensor
    renoise: torch.Tensor | None
    memories: list[Memory]


def combine_pictures(
    rule: Rule,
    predictions: Mapping[Conditioning, torch.Tensor],
    memories: Sequence[Memory],
    moment: Moment,
    noise: Callable[[int], torch.Tensor],
) -> Combined:
    """Combine the predictions of a batch of b pictures.

    predictions: for each row (b, C, h, w). memories: each picture's, or none at the start.
    moment: of the batch, without noise.
    noise: standard normal noise (C, h, w) for the picture at an index, float32 on the CPU.

    A rule that is not elementwise gets each picture by itself: sums over a batch may be taken in another order than
    over one picture, and a picture's last bits would then depend on its companions.
    """
    if rule.elementwise:
        batch = rule.combine(predictions, {}, moment)
        return Combined(batch.prediction, batch.renoise, [])
    pictures = len(next(iter(predictions.values())))
    guided = [
        rule.combine(
            {row: prediction[index] for row, prediction in predictions.items()},
            memories[index] if memories else {},
            replace(moment, latents=moment.latents[index], noise=_noise_like(moment.latents, noise, index)),
        )
        for index in range(pictures)
    ]
    renoise = [each.renoise for each in guided if each.renoise is not None]
    return Combined(
        torch.stack([each.prediction for each in guided]),
        torch.stack(renoise) if renoise else None,
        [each.memory for each in guided],
    )


def effective_strengths(guided: torch.Tensor, conditional: torch.Tensor, empty: torch.Tensor) -> torch.Tensor:
    """Measure guided predictions (b, C, h, w) against classifier-free guidance: float64 (b, 2) on the CPU.

    With d = ε(c) − ε(∅) and v the guided prediction over ε(∅): the effective strength ω = ⟨v,d⟩/⟨d,d⟩ and the share of
    v that lies across d, ‖v − ω·d‖/‖v‖ (Xie et al. 2026, arXiv 2602.22570). Classifier-free guidance has ω = 1 + w and
    the share 0. Not a number where the two predictions, or for the share guided and empty prediction, are the same.
    """
    rows = []
    for picture in range(len(guided)):
        origin = empty[picture].double()
        step, direction = guided[picture].double() - origin, conditional[picture].double() - origin
        strength = (step * direction).sum() / (direction * direction).sum()
        rows.append(torch.stack([strength, (step - strength * direction).norm() / step.norm()]))
    return torch.stack(rows).cpu()


def no_noise() -> torch.Tensor:
    """Refuse to draw: a rule that works on a whole batch draws no noise."""
    raise RuntimeError("an elementwise rule draws no noise")


def _noise_like(latents: torch.Tensor, noise: Callable[[int], torch.Tensor], index: int) -> Callable[[], torch.Tensor]:
    """Return the picture's noise in the latents' dtype and on their device."""
    return lambda: noise(index).to(latents)
