"""Define the presets of a new plan: initial values of the form, which a person changes as usual."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MATCHED = {"method": "strength_matched", "guidance": {"method": "segmentation_free", "scale": 10, "strength": 2.5}}


@dataclass(frozen=True)
class Preset:
    """A title, what it plans in words, and the fields that differ from the form's own defaults."""

    title: str
    says: str
    values: Mapping[str, Any]


PRESETS: dict[str, Preset] = {
    "paper": Preset(
        "The paper’s protocol",
        "Classifier-free guidance with w = 7.5 against segmentation-free guidance with a = 5 and a = 10: 150 prompts "
        "from 5,000, 17 evaluators with 30 pairs each, texts encoded by ViT-g-14. Name the checkpoint that you study.",
        {
            "encoder": "ViT-g-14",
            "encoder_pretrained": "laion2b_s12b_b42k",
            "strength": 7.5,
            "scales": "5, 10",
            "compare": "baseline",
        },
    ),
    "matched": Preset(
        "Baseline, method, and the method at matched strength",
        "All pairs of three arms. The third takes the strength that the method has at each iteration, in the plain "
        "direction of classifier-free guidance: whether people prefer the method to it tells what the direction does "
        "beside the strength. For another method, change both candidates.",
        {"scales": "10", "other_candidates": json.dumps(MATCHED), "compare": "all_pairs"},
    ),
    "sweep": Preset(
        "A sweep of one method",
        "Segmentation-free guidance with four scales against one baseline: at which scale do people prefer it most? "
        "Results draw the preference over the scale.",
        {"scales": "2.5, 5, 10, 20", "compare": "baseline"},
    ),
}
