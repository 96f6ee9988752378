"""A safety checker with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor


def tiny_checker(folder: Path, *, picky: bool = True) -> Path:
    """A randomly initialised checker in a checkpoint folder; a picky one flags about half of all noise."""
    torch.manual_seed(5)
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16,
        "patch_size": 8, "projection_dim": 8,
    }  # fmt: skip
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    with torch.no_grad():
        for name in ("concept_embeds", "special_care_embeds"):
            getattr(checker, name).copy_(torch.randn_like(getattr(checker, name)))
        checker.concept_embeds_weights.fill_(0.6 if picky else 1.1)
        checker.special_care_embeds_weights.fill_(1.1)
    checker.save_pretrained(folder / "safety_checker")
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16).save_pretrained(folder / "feature_extractor")
    index = folder / "model_index.json"
    declared = json.loads(index.read_text()) if index.exists() else {}
    declared["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index.write_text(json.dumps(declared))
    return folder
