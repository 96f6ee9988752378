"""The text tower alone, on captions and what they say of the picture: who stands where takes it many captions to learn.

Contrastive training with pictures is slow on a CPU, and its few thousand steps leave relations at chance. Captions and
layouts cost next to nothing, so the text tower goes on with those alone, before the denoiser reads it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers import CLIPModel, CLIPTokenizer

from evenhand.demo import scenes
from evenhand.demo.training import data
from evenhand.demo.training.loop import Stage, run
from evenhand.demo.training.readouts import SceneHead, Targets, ThingHead, targets

PADS = 4  # padding tokens behind the longest caption that take part, at random positions
SMALL = 32  # side of the masks: enough to say what covers which quarter


class TextReadOuts(nn.Module):
    """What each thing's last word, and the end-of-text and padding states, are asked for."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.word = ThingHead(width, place=True)
        self.scene = SceneHead(width)


def caption_batch(rng: np.random.Generator, count: int) -> tuple[list[str], Targets]:
    """Captions of random scenes, mostly of several things, and the scenes' truth."""
    numbers = rng.choice((1, 2, 3), size=count, p=(0.1, 0.5, 0.4))
    drawn = [scenes.sample_scene(rng, things=int(n)) for n in numbers]
    texts = [scenes.describe(scene.description, rng) for scene in drawn]
    return texts, targets(drawn, [scenes.render(scene, SMALL)[1] for scene in drawn])


def train_text(
    model: CLIPModel, tokenizer: CLIPTokenizer, stage: Stage, *, batch: int = 64, learning_rate: float = 6e-4
) -> CLIPModel:
    """Train the text tower; the rest of the model stays, and no longer fits it until ``clip.fit_pictures``."""
    torch.manual_seed(15)
    model.requires_grad_(False)
    tower = model.text_model.requires_grad_(True).train()
    heads = TextReadOuts(model.config.text_config.hidden_size)
    modules = {"text": tower, "heads": heads}
    parameters = [p for module in modules.values() for p in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = data.step_rng(107, step)
        texts, truth = caption_batch(rng, batch)
        ids = data.tokenize(tokenizer, texts)
        ends = (ids == tokenizer.eos_token_id).int().argmax(dim=1)
        length = int(ends.max()) + 1 + PADS
        positions = torch.arange(length).repeat(batch, 1)
        far = np.sort(rng.integers(length - PADS, data.CONTEXT, size=PADS))  # every position learns what padding says
        positions[:, length - PADS :] = torch.from_numpy(far)
        states = tower(input_ids=ids[:, :length], position_ids=positions).last_hidden_state
        rows = torch.arange(batch)
        at = [ends, torch.full_like(ends, length - 1 - int(rng.integers(PADS)))]
        scene = torch.stack([heads.scene.loss(states[rows, position], truth) for position in at]).mean()
        groups = [group for text in texts for group in data.token_groups(tokenizer, text)[:-1]]
        last = torch.tensor([group[-1] for group in groups])
        words = heads.word.loss(states[truth.rows, last], truth, torch.arange(len(last)))
        return scene + 0.5 * words, {"scene": float(scene.detach()), "words": float(words.detach())}

    run(stage, modules, optimizer, learning_rate, step_loss)
    return model.requires_grad_(True).eval()
