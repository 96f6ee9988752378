"""A tiny CLIP: contrastive over rendered scenes, with wrong captions as hard negatives and word-level attribute heads.

The contrastive loss alone only has to fill the end-of-text feature. The heads, dropped after training, make the
hidden state of each thing's last word say its colour, shape and surface, because that is what the denoiser reads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from demo import scenes
from demo.training import data
from demo.training.loop import Stage, run

WIDTH, LAYERS, HEADS = 128, 4, 4


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


class WordHeads(nn.Module):
    """Linear read-outs of colour, shape and surface from the hidden state of a thing's last word."""

    def __init__(self) -> None:
        super().__init__()
        self.colour = nn.Linear(WIDTH, len(scenes.COLOURS))
        self.shape = nn.Linear(WIDTH, len(scenes.SHAPES))
        self.surface = nn.Linear(WIDTH, len(scenes.SURFACES))

    def loss(self, states: torch.Tensor, things: list[scenes.Thing]) -> torch.Tensor:
        """Cross-entropy of the three read-outs; states (N, 128) of N things."""
        colours, shapes = list(scenes.COLOURS), list(scenes.SHAPES)
        targets = (
            (self.colour, [colours.index(t.colour) for t in things]),
            (self.shape, [shapes.index(t.shape) for t in things]),
            (self.surface, [scenes.SURFACES.index(t.surface) for t in things]),
        )
        return torch.stack([F.cross_entropy(head(states), torch.tensor(t)) for head, t in targets]).mean()


def train_clip(tokenizer: CLIPTokenizer, stage: Stage, *, batch: int = 48, learning_rate: float = 8e-4) -> CLIPModel:
    """Train on ``batch`` scenes a step, each with its caption and one wrong caption."""
    torch.manual_seed(11)
    model, heads = new_clip(tokenizer), WordHeads()
    model.train()
    modules = {"clip": model, "heads": heads}
    parameters = [p for module in modules.values() for p in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.02, betas=(0.9, 0.98))

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = data.step_rng(101, step)
        pictures, drawn = data.rendered_batch(rng, batch)
        texts = [scenes.describe(scene.description, rng) for scene in drawn]
        wrong = [scenes.describe(scenes.exchange_attribute(scene.description, rng), rng) for scene in drawn]
        ids = data.tokenize(tokenizer, texts + wrong)
        longest = int((ids == tokenizer.eos_token_id).int().argmax(dim=1).max()) + 1
        text = model.text_model(input_ids=ids[:, :longest])  # causal, so the cut changes nothing
        text_features = F.normalize(model.text_projection(text.pooler_output), dim=-1)
        vision = model.vision_model(pixel_values=pictures)
        image_features = F.normalize(model.visual_projection(vision.pooler_output), dim=-1)
        logits = model.logit_scale.exp().clamp(max=100) * image_features @ text_features.T  # (B, 2B)
        target = torch.arange(batch)
        contrastive = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits[:, :batch].T, target))
        rows, places, things = [], [], []
        for row, (caption, scene) in enumerate(zip(texts, drawn, strict=True)):
            groups = data.token_groups(tokenizer, caption)
            for group, thing in zip(groups, scene.description.things, strict=False):
                rows.append(row)
                places.append(group[-1])
                things.append(thing)
        words = heads.loss(text.last_hidden_state[rows, places], things)
        right = (logits.argmax(dim=1) == target).float().mean()
        return contrastive + 0.5 * words, {
            "contrastive": float(contrastive),
            "words": float(words),
            "top1": float(right),
        }

    run(stage, modules, optimizer, learning_rate, step_loss)
    return model.eval()
