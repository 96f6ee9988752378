"""CFG++ against the paper's algorithm written out, for each kind of prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionPipeline

from evenhand.generation.guidance import ClassifierFree, GuidanceError
from evenhand.generation.methods.classifier_free_plus_plus import ClassifierFreePlusPlus
from evenhand.generation.schedule import advance, build_scheduler
from tests.helpers.reference import noise_of
from tests.helpers.runs import PROMPTS, SEEDS, STEPS, run

ARMS = {
    "default": ClassifierFreePlusPlus(switch_after=0),
    "after an opening": ClassifierFreePlusPlus(0.8, "a star", switch_after=1, opening=ClassifierFree(3.0)),
    "full": ClassifierFreePlusPlus(1.0, switch_after=0),
}


@torch.no_grad()
def slow_latents(pipeline: StableDiffusionPipeline, picture: int, arm: ClassifierFreePlusPlus) -> np.ndarray:
    """The paper's Algorithm 2 with ᾱ from the training schedule; DDIM's step written out before the switch too."""
    bars = pipeline.scheduler.alphas_cumprod.double()
    stride = len(bars) // STEPS
    latents = noise_of(SEEDS[picture], 0, (4, 8, 8)).double()
    for iteration in range(STEPS):
        t = (STEPS - 1 - iteration) * stride + 1
        bar, bar_next = bars[t], bars[t - stride] if t >= stride else torch.tensor(1.0)

        def predict(text: str, latents: torch.Tensor = latents, t: int = t) -> torch.Tensor:
            states = pipeline.encode_prompt([text], "cpu", 1, False)[0]
            return pipeline.unet(latents, t, states).sample

        positive = predict(PROMPTS[picture])
        if iteration < arm.switch_iteration(STEPS):
            negative = predict("")
            guided = negative + (1 + arm.opening.strength) * (positive - negative)
            added = guided
        else:
            negative = predict(arm.negative_prompt)
            guided = (1 - arm.strength) * negative + arm.strength * positive
            added = negative
        clean = (latents - (1 - bar).sqrt() * guided) / bar.sqrt()
        latents = bar_next.sqrt() * clean + (1 - bar_next).sqrt() * added
    return latents[0].numpy()


@pytest.mark.parametrize("name", ARMS)
def test_it_equals_the_papers_algorithm(pipeline64: StableDiffusionPipeline, name: str) -> None:
    result = run(pipeline64, {"arm": ARMS[name]})
    assert result.latents is not None
    for picture in (0, 1):
        # diffusers' table of ᾱ is single precision.
        np.testing.assert_allclose(
            result.latents["arm"][picture], slow_latents(pipeline64, picture, ARMS[name]), rtol=0, atol=1e-5
        )


def test_its_arms_and_interpolating_guidance_differ(pipeline: StableDiffusionPipeline) -> None:
    """λ = 0.6 in classifier-free guidance is w = −0.4: the same prediction, but its own noise is added again."""
    result = run(pipeline, ARMS | {"cfg": ClassifierFree(-0.4)})
    assert result.latents is not None
    latents = list(result.latents.values())
    for index, one in enumerate(latents):
        assert all(np.abs(one - other).max(axis=(1, 2, 3)).min() > 1e-3 for other in latents[:index])


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_noise_of_the_prediction_itself_is_the_stock_step(kind: str) -> None:
    config = DDIMScheduler(prediction_type=kind, beta_start=0.00085, beta_end=0.012).config
    scheduler = build_scheduler("ddim", config, STEPS)
    generator = torch.Generator().manual_seed(1)
    latents, prediction, other = torch.randn(3, 2, 4, 8, 8, generator=generator, dtype=torch.float64)
    for timestep in scheduler.timesteps:
        stock = advance(scheduler, prediction, timestep, latents, torch.Tensor)
        same = advance(scheduler, prediction, timestep, latents, torch.Tensor, prediction)
        torch.testing.assert_close(same, stock, rtol=0, atol=1e-6)
        apart = advance(scheduler, prediction, timestep, latents, torch.Tensor, other)
        last = timestep == scheduler.timesteps[-1]  # ends on the picture without noise
        assert torch.equal(apart, same) if last else (apart - same).abs().max() > 0.01


def test_other_schedulers_are_refused_by_name(pipeline: StableDiffusionPipeline) -> None:
    with pytest.raises(GuidanceError, match=r"lively: classifier_free_plus_plus works with .* ddim alone, not 'euler'"):
        run(pipeline, {"lively": ClassifierFreePlusPlus()}, scheduler="euler")
    euler = build_scheduler("euler", EulerDiscreteScheduler().config, STEPS)
    zeros = torch.zeros(1, 4, 8, 8)
    with pytest.raises(ValueError, match="scheduler ddim alone"):
        advance(euler, zeros, euler.timesteps[0], zeros, torch.Tensor, zeros)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_the_strength_is_a_share(value: float) -> None:
    with pytest.raises(GuidanceError, match=r"strength must lie in 0…1, not"):
        ClassifierFreePlusPlus(value)


def test_its_label() -> None:
    assert ClassifierFreePlusPlus(negative_prompt="fog").label() == "CFG++ λ=0.6, not “fog”, after T/2"
