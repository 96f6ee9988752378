"""Train a tiny CLIP on rendered scenes, with wrong captions as hard negatives and scene read-outs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from evenhand.demo import scenes
from evenhand.demo.training import data
from evenhand.demo.training.loop import Stage, run
from evenhand.demo.training.readouts import PatchHead, SceneHead, Targets, ThingHead, targets

WIDTH, LAYERS, HEADS = 128, 4, 4
WRONG = 2  # captions with an exchanged attribute for each true one
PADS = 4  # padding positions after the longest caption that are trained
READ_OUT = 0.4


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Create a randomly initialised CLIPModel of 2 × 4 layers × 128."""
    tower_options = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "projection_dim": WIDTH,
        "hidden_act": "quick_gelu",
    }
    text_options = tower_options | {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision_options = tower_options | {"image_size": data.SIZE, "patch_size": 8}
    model: CLIPModel = CLIPModel(
        CLIPConfig(text_config=text_options, vision_config=vision_options, projection_dim=WIDTH)
    )
    return model


def load_clip(folder: Path) -> CLIPModel:
    """Load the CLIPModel saved in ``folder``, in float32."""
    model: CLIPModel = CLIPModel.from_pretrained(folder, dtype=torch.float32)  # nosec B615  # a folder of the training
    return model.eval()


class PictureReadOuts(nn.Module):
    """The read-outs of the picture tower."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = SceneHead(WIDTH)
        self.patch = PatchHead(WIDTH)


class ReadOuts(PictureReadOuts):
    """The read-outs of both towers."""

    def __init__(self) -> None:
        super().__init__()
        self.word = ThingHead(WIDTH, place=True)
        self.text = SceneHead(WIDTH)


def _last_words(tokenizer: CLIPTokenizer, texts: list[str]) -> tuple[list[int], list[int]]:
    """Return row and token position of every thing's last word, in the order of ``readouts.targets``."""
    rows, places = [], []
    for row, text in enumerate(texts):
        for group in data.token_groups(tokenizer, text)[:-1]:
            rows.append(row)
            places.append(group[-1])
    return rows, places


@dataclass
class Batch:
    """Rendered scenes with their captions, ``WRONG`` wrong captions for each, and the scenes' true attributes."""

    pictures: torch.Tensor  # (B, 3, 64, 64)
    texts: list[str]
    ids: torch.Tensor  # ((1 + WRONG) B, 77): all captions, then all wrong ones
    truth: Targets


def new_batch(tokenizer: CLIPTokenizer, rng: np.random.Generator, count: int) -> Batch:
    """Draw a batch of ``count`` random scenes."""
    random_scenes = [scenes.sample_scene(rng) for _ in range(count)]
    renders = [scenes.render(scene, data.SIZE) for scene in random_scenes]
    texts = [scenes.describe(scene.description, rng) for scene in random_scenes]
    wrong_captions = [
        scenes.describe(scenes.exchange_attribute(scene.description, rng), rng)
        for _ in range(WRONG)
        for scene in random_scenes
    ]
    pictures = data.to_tensor([picture for picture, _ in renders])
    truth = targets(random_scenes, [masks for _, masks in renders])
    return Batch(pictures, texts, data.tokenize(tokenizer, texts + wrong_captions), truth)


def contrast(model: CLIPModel, text: torch.Tensor, vision: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the contrastive loss of states, text ((1 + WRONG) B, 128) and vision (B, 128), and the accuracy."""
    text_features = F.normalize(model.text_projection(text), dim=-1)
    image_features = F.normalize(model.visual_projection(vision), dim=-1)
    logits = model.logit_scale.exp().clamp(max=100) * image_features @ text_features.T
    target = torch.arange(len(logits))
    loss = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits[:, : len(logits)].T, target))
    return loss, (logits.argmax(dim=1) == target).float().mean()


def train_clip(tokenizer: CLIPTokenizer, stage: Stage, *, batch: int = 48, learning_rate: float = 8e-4) -> CLIPModel:
    """Train both towers together, with the read-outs of both."""
    torch.manual_seed(11)
    model, heads = new_clip(tokenizer), ReadOuts()
    modules = {"clip": model.train(), "heads": heads}

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = data.step_rng(101, step)
        scene_batch = new_batch(tokenizer, rng, batch)
        ends = (scene_batch.ids == tokenizer.eos_token_id).int().argmax(dim=1)
        text = model.text_model(
            input_ids=scene_batch.ids[:, : int(ends.max()) + 1 + PADS]
        )  # causal: shortening does not change the states
        vision = model.vision_model(pixel_values=scene_batch.pictures)
        contrastive, accuracy = contrast(model, text.pooler_output, vision.pooler_output)
        states, batch_rows = text.last_hidden_state, torch.arange(batch)
        rows, places = _last_words(tokenizer, scene_batch.texts)
        pad_positions = ends[:batch] + int(
            rng.integers(1, PADS + 1)
        )  # padding must encode the scene like the end-of-text state
        text_losses = [
            heads.text.loss(states[batch_rows, at], scene_batch.truth) for at in (ends[:batch], pad_positions)
        ]
        read_out_losses = {
            "words": heads.word.loss(states[rows, places], scene_batch.truth, torch.arange(len(rows))),
            "scene": torch.stack(text_losses).mean(),
            "picture": heads.picture.loss(vision.pooler_output, scene_batch.truth),
            "patches": heads.patch.loss(vision.last_hidden_state[:, 1:], scene_batch.truth),
        }
        loss = contrastive + READ_OUT * torch.stack(list(read_out_losses.values())).sum()
        return loss, _to_floats({"contrastive": contrastive, **read_out_losses, "top1": accuracy})

    run(stage, modules, _optimizer(modules, learning_rate), learning_rate, step_loss)
    return model.eval()


def fit_pictures(
    model: CLIPModel, tokenizer: CLIPTokenizer, stage: Stage, *, batch: int = 48, learning_rate: float = 6e-4
) -> CLIPModel:
    """Train the picture tower and both projections against a frozen text tower."""
    torch.manual_seed(16)
    heads = PictureReadOuts()
    model.train().text_model.requires_grad_(False).eval()
    modules = {"clip": model, "heads": heads}

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        scene_batch = new_batch(tokenizer, data.step_rng(108, step), batch)
        with torch.no_grad():
            longest = int((scene_batch.ids == tokenizer.eos_token_id).int().argmax(dim=1).max()) + 1
            text = model.text_model(input_ids=scene_batch.ids[:, :longest])
        vision = model.vision_model(pixel_values=scene_batch.pictures)
        contrastive, accuracy = contrast(model, text.pooler_output, vision.pooler_output)
        picture = heads.picture.loss(vision.pooler_output, scene_batch.truth)
        patches = heads.patch.loss(vision.last_hidden_state[:, 1:], scene_batch.truth)
        loss = contrastive + READ_OUT * (picture + patches)
        return loss, _to_floats({"contrastive": contrastive, "picture": picture, "patches": patches, "top1": accuracy})

    run(stage, modules, _optimizer(modules, learning_rate), learning_rate, step_loss)
    return model.requires_grad_(True).eval()


def _optimizer(modules: dict[str, nn.Module], learning_rate: float) -> torch.optim.Optimizer:
    parameters = [p for module in modules.values() for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.02, betas=(0.9, 0.98))


def _to_floats(values: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in values.items()}
