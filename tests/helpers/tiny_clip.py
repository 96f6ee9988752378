"""A tiny open_clip model with random weights, as the folder that ``demo/training/export.py`` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

from evenhand.metrics.clip import ClipModel, load_clip
from tests.helpers.tiny_models import tiny_tokenizer

WIDTH, SIDE = 32, 16


def write_clip(folder: Path, *, custom_text: bool = False, seed: int = 5, **text: Any) -> Path:
    """Two layers a tower, with weights of ``seed``; ``text`` overrides the text tower's configuration. Attention and
    positions are enlarged, so that a wrong mask or a wrong place shows in the features."""
    tokenizer = tiny_tokenizer()
    tower = {"width": WIDTH, "layers": 2}
    text_cfg: dict[str, Any] = {"context_length": 77, "vocab_size": len(tokenizer), "heads": 2, **tower}
    text_cfg |= {"hf_tokenizer_name": "local", "tokenizer_kwargs": {"clean": "whitespace"}, **text}
    vision_cfg = {"image_size": SIDE, "patch_size": 8, "head_width": 16, **tower}
    config: dict[str, Any] = {"embed_dim": WIDTH, "quick_gelu": True, "vision_cfg": vision_cfg, "text_cfg": text_cfg}
    torch.manual_seed(seed)
    model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "in_proj_weight" in name:
                parameter *= 3.0
            elif "positional_embedding" in name or "token_embedding" in name:
                parameter *= 20.0
    if custom_text:
        config["custom_text"] = True
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    save_file(dict(model.state_dict()), folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    return folder


def tiny_clip(folder: Path, *, custom_text: bool = False, **text: Any) -> ClipModel:
    """The folder, written and loaded."""
    return load_clip(str(write_clip(folder, custom_text=custom_text, **text)))


def swap_two_words(folder: Path) -> None:
    """Let a folder's tokenizer take red for blue, and the other way round."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    words = tokenizer["model"]["vocab"]
    words["red</w>"], words["blue</w>"] = words["blue</w>"], words["red</w>"]
    path.write_text(json.dumps(tokenizer))
