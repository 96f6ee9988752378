"""A tiny CLIP: contrastive over rendered scenes, with wrong captions as hard negatives and read-outs of the scene."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from demo import scenes
from demo.training import data
from demo.training.loop import Stage, run
from demo.training.readouts import PatchHead, SceneHead, ThingHead, targets

WIDTH, LAYERS, HEADS = 128, 4, 4
WRONG = 2  # captions with an exchanged attribute beside each true one
PADS = 4  # padding positions behind the longest caption that take part
READ_OUT = 0.4


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A randomly initialised CLIPModel of 2 × 4 layers × 128."""
    shared = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "projection_dim": WIDTH,
        "hidden_act": "quick_gelu",
    }
    text = shared | {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = shared | {"image_size": data.SIZE, "patch_size": 8}
    model: CLIPModel = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))
    return model


class ReadOuts(nn.Module):
    """The read-outs of both towers."""

    def __init__(self) -> None:
        super().__init__()
        self.word = ThingHead(WIDTH, place=True)
        self.text = SceneHead(WIDTH)
        self.picture = SceneHead(WIDTH)
        self.patch = PatchHead(WIDTH)


def _last_words(tokenizer: CLIPTokenizer, texts: list[str]) -> tuple[list[int], list[int]]:
    """Row and token position of every thing's last word, things in the order of ``readouts.targets``."""
    rows, places = [], []
    for row, text in enumerate(texts):
        for group in data.token_groups(tokenizer, text)[:-1]:
            rows.append(row)
            places.append(group[-1])
    return rows, places


def train_clip(tokenizer: CLIPTokenizer, stage: Stage, *, batch: int = 48, learning_rate: float = 8e-4) -> CLIPModel:
    """Train on ``batch`` scenes a step, each with its caption and ``WRONG`` wrong captions."""
    torch.manual_seed(11)
    model, heads = new_clip(tokenizer), ReadOuts()
    model.train()
    modules = {"clip": model, "heads": heads}
    parameters = [p for module in modules.values() for p in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.02, betas=(0.9, 0.98))

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = data.step_rng(101, step)
        drawn = [scenes.sample_scene(rng) for _ in range(batch)]
        rendered = [scenes.render(scene, data.SIZE) for scene in drawn]
        truth = targets(drawn, [masks for _, masks in rendered])
        texts = [scenes.describe(scene.description, rng) for scene in drawn]
        wrong = [
            scenes.describe(scenes.exchange_attribute(scene.description, rng), rng)
            for _ in range(WRONG)
            for scene in drawn
        ]
        ids = data.tokenize(tokenizer, texts + wrong)
        ends = (ids == tokenizer.eos_token_id).int().argmax(dim=1)
        text = model.text_model(input_ids=ids[:, : int(ends.max()) + 1 + PADS])  # causal: the cut changes nothing
        text_features = F.normalize(model.text_projection(text.pooler_output), dim=-1)
        vision = model.vision_model(pixel_values=data.to_tensor([picture for picture, _ in rendered]))
        image_features = F.normalize(model.visual_projection(vision.pooler_output), dim=-1)
        logits = model.logit_scale.exp().clamp(max=100) * image_features @ text_features.T  # (B, (1 + WRONG) B)
        target = torch.arange(batch)
        contrastive = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits[:, :batch].T, target))
        states = text.last_hidden_state
        rows, places = _last_words(tokenizer, texts)
        words = heads.word.loss(states[rows, places], truth, torch.arange(len(rows)))
        padded = ends[:batch] + int(rng.integers(1, PADS + 1))  # the padding says what the end-of-text state says
        scene = torch.stack([heads.text.loss(states[target, at], truth) for at in (ends[:batch], padded)]).mean()
        picture = heads.picture.loss(vision.pooler_output, truth)
        patches = heads.patch.loss(vision.last_hidden_state[:, 1:], truth)
        parts = {"contrastive": contrastive, "words": words, "scene": scene, "picture": picture, "patches": patches}
        right = (logits.argmax(dim=1) == target).float().mean()
        loss = contrastive + READ_OUT * (words + scene + picture + patches)
        return loss, {name: float(part.detach()) for name, part in parts.items()} | {"top1": float(right)}

    run(stage, modules, optimizer, learning_rate, step_loss)
    return model.eval()
