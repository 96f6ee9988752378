"""The short run that several test modules make: two prompts, four iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from evenhand.generation.guidance import ClassifierFree, Guidance
from evenhand.generation.kinds.registry import Pipeline
from evenhand.generation.trajectory import Generated, generate
from tests.helpers.reference import scheduler_of

STEPS = 4
PROMPTS = ["a red circle above the blue square", "a dog left of a cat"]
SEEDS = [3, 11]
CFG = ClassifierFree()


def run(pipeline: Pipeline, arms: Mapping[str, Guidance], **options: object) -> Generated:
    settings: dict = {"steps": STEPS, "batch_size": 2, "return_latents": True} | options
    return generate(pipeline, PROMPTS, SEEDS, arms, **settings)


def first_noise(seeds: Sequence[int]) -> torch.Tensor:
    """(len(seeds), 4, 8, 8), as diffusers draws it from one generator a picture."""
    return torch.cat([torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def use_scheduler(stock: Pipeline, scheduler: str) -> None:
    """Give a stock pipeline the scheduler with the settings of method §1.8."""
    stock.scheduler = scheduler_of(scheduler, dict(stock.scheduler.config))
