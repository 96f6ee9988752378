"""Trajectories written out slowly: one picture, one network call for each prediction, a stock DDIM scheduler."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from tests.helpers.reference import noise_of, scheduler_of
from tests.helpers.runs import PROMPTS, SEEDS, STEPS

Predict = Callable[[str], torch.Tensor]  # text -> prediction (1, C, h, w) of the latents of the iteration
Guide = Callable[[int, Predict], torch.Tensor]  # iteration, Predict -> guided prediction


@torch.no_grad()
def slow_latents(pipeline: StableDiffusionPipeline, picture: int, guide: Guide, scheduler: str = "ddim") -> np.ndarray:
    """Final latents (C, h, w) of one of ``runs.PROMPTS``."""
    stock = scheduler_of(scheduler, dict(pipeline.scheduler.config))
    stock.set_timesteps(STEPS)
    dtype = pipeline.unet.dtype
    latents = noise_of(SEEDS[picture], 0, (4, 8, 8)).to(dtype)
    for iteration, t in enumerate(stock.timesteps):

        def predict(text: str, latents: torch.Tensor = latents, t: torch.Tensor = t) -> torch.Tensor:
            states = pipeline.encode_prompt([text or ""], "cpu", 1, False)[0]
            return pipeline.unet(latents, t, states).sample

        latents = stock.step(guide(iteration, predict), t, latents, return_dict=False)[0]
    return latents[0].numpy()


def classifier_free(predict: Predict, picture: int, w: float, negative: str = "") -> torch.Tensor:
    """Eq. 4."""
    return (1 + w) * predict(PROMPTS[picture]) - w * predict(negative)
