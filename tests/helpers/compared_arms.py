"""Arms as the library and as the slow reference write them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree
from evenhand.generation.trajectory import Generated
from tests.helpers.reference import Arm
from tests.helpers.runs import CFG, STEPS


def both(
    scale: float, switch_after: int = 2, *, negative: str = "", heads: str = "mean", tokens: str = "all"
) -> tuple[SegmentationFree, Arm]:
    """One segmentation-free guidance as the library and as the reference write it."""
    return (
        SegmentationFree(
            scale,
            switch_after=switch_after,
            opening=ClassifierFree(7.5, negative),
            heads=heads,  # type: ignore[arg-type]
            tokens=tokens,  # type: ignore[arg-type]
        ),
        Arm(
            negative_prompt=negative,
            scale=scale,
            switch_after=switch_after,
            per_head=heads == "per_head",
            own_tokens=tokens == "prompt",
        ),
    )


ARMS: Mapping[str, tuple[Guidance, Arm]] = {
    "classifier-free": (CFG, Arm()),
    "negative prompt": (ClassifierFree(12.5, "a blue star"), Arm(strength=12.5, negative_prompt="a blue star")),
    "segmentation-free": both(10),
    "a = 0": both(0),
    "a < 0": both(-3.5),
    "t_s = 0": both(5, 0),
    "t_s = 1": both(5, 1),
    "t_s = T": both(5, STEPS),
    "negative opening": both(5, negative="a cat"),
    "per head": both(10, heads="per_head"),
    "own tokens": both(10, tokens="prompt"),
    "per head, own tokens": both(5, 1, heads="per_head", tokens="prompt"),
}


def tokens_in_call_order(result: Generated, arm: str, picture: int, heads: int = 2) -> list[np.ndarray]:
    """The tokens (heads, patches) of each module and segmentation-free iteration, as the reference lists them."""
    return [
        np.repeat(grids[picture].reshape(grids.shape[1], -1), heads // grids.shape[1], axis=0)
        for maps in result.semantic_maps[arm].values()
        for grids in maps.values()
    ]
