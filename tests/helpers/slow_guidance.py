"""Trajectories written out slowly: one picture, one network call for each prediction, a stock DDIM scheduler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from tests.helpers.reference import noise_of, scheduler_of
from tests.helpers.runs import PROMPTS, SEEDS, STEPS


@dataclass
class Predict:
    """The predictions (1, C, h, w) of one iteration by text, its latents, and ᾱ of its timestep."""

    pipeline: StableDiffusionPipeline
    latents: torch.Tensor
    t: torch.Tensor

    def __call__(self, text: str) -> torch.Tensor:
        states = self.pipeline.encode_prompt([text], "cpu", 1, False)[0]
        return self.pipeline.unet(self.latents, self.t, states).sample

    @property
    def signal(self) -> torch.Tensor:
        """Of the training schedule."""
        return self.pipeline.scheduler.alphas_cumprod[self.t]


Guide = Callable[[int, Predict], torch.Tensor]  # iteration, Predict -> guided prediction


@torch.no_grad()
def slow_latents(pipeline: StableDiffusionPipeline, picture: int, guide: Guide, scheduler: str = "ddim") -> np.ndarray:
    """Final latents (C, h, w) of one of ``runs.PROMPTS``, under a scheduler that does not scale them."""
    stock = scheduler_of(scheduler, dict(pipeline.scheduler.config))
    stock.set_timesteps(STEPS)
    latents = noise_of(SEEDS[picture], 0, (4, 8, 8)).to(pipeline.unet.dtype)
    for iteration, t in enumerate(stock.timesteps):
        guided = guide(iteration, Predict(pipeline, latents, t))
        latents = stock.step(guided, t, latents, return_dict=False)[0]
    return latents[0].numpy()


def classifier_free(predict: Predict, picture: int, w: float, negative: str = "") -> torch.Tensor:
    """Eq. 4."""
    return (1 + w) * predict(PROMPTS[picture]) - w * predict(negative)
