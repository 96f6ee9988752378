"""Train the text tower alone on captions and scene layouts; relations need many captions.

Contrastive training with pictures is slow on a CPU, and its few thousand steps leave relations at chance level.
Captions and layouts are cheap, so the text tower continues with these alone before the denoiser's training.
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

PADS = 4  # padding tokens after the longest caption that are trained, at random positions
SMALL = 32  # side of the masks, sufficient for the coarse layout


class TextReadOuts(nn.Module):
    """Read-outs of each thing's last word, and of the end-of-text and padding states."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.word = ThingHead(width, place=True)
        self.scene = SceneHead(width)


def caption_batch(rng: np.random.Generator, count: int) -> tuple[list[str], Targets]:
    """Draw captions of random scenes, mostly of several things, and the scenes' targets."""
    numbers = rng.choice((1, 2, 3), size=count, p=(0.1, 0.5, 0.4))
    random_scenes = [scenes.sample_scene(rng, things=int(n)) for n in numbers]
    texts = [scenes.describe(scene.description, rng) for scene in random_scenes]
    return texts, targets(random_scenes, [scenes.render(scene, SMALL)[1] for scene in random_scenes])


def train_text(
    model: CLIPModel, tokenizer: CLIPTokenizer, stage: Stage, *, batch: int = 64, learning_rate: float = 6e-4
) -> CLIPModel:
    """Train the text tower; the frozen rest of the model must be refitted with ``clip.fit_pictures``."""
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
        pad_positions = np.sort(
            rng.integers(length - PADS, data.CONTEXT, size=PADS)
        )  # so that padding is trained at every position
        positions[:, length - PADS :] = torch.from_numpy(pad_positions)
        states = tower(input_ids=ids[:, :length], position_ids=positions).last_hidden_state
        rows = torch.arange(batch)
        read_positions = [ends, torch.full_like(ends, length - 1 - int(rng.integers(PADS)))]
        scene = torch.stack([heads.scene.loss(states[rows, position], truth) for position in read_positions]).mean()
        groups = [group for text in texts for group in data.token_groups(tokenizer, text)[:-1]]
        last_words = torch.tensor([group[-1] for group in groups])
        words = heads.word.loss(states[truth.rows, last_words], truth, torch.arange(len(last_words)))
        return scene + 0.5 * words, {"scene": float(scene.detach()), "words": float(words.detach())}

    run(stage, modules, optimizer, learning_rate, step_loss)
    return model.requires_grad_(True).eval()
