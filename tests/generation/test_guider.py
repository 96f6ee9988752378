"""Segmentation-free guidance in diffusers' own modular pipeline of Stable Diffusion XL, with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.guiders import BaseGuidance, ClassifierFreeGuidance
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.modular_pipelines import SequentialPipelineBlocks
from diffusers.modular_pipelines.stable_diffusion_xl.modular_blocks_stable_diffusion_xl import (
    StableDiffusionXLAutoBlocks,
)

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree, GuidanceError, SegmentationFree
from evenhand.generation.guider import SegmentationFreeGuidance
from tests.helpers.runs import PROMPTS, SEEDS, STEPS, first_noise, run
from tests.helpers.tiny_models import tiny_xl_pipeline

PARTS = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae", "scheduler")


@pytest.fixture(scope="module")
def xl64() -> StableDiffusionXLPipeline:
    """For ``generate``, which leaves its own processors on the network."""
    return tiny_xl_pipeline(torch.float64)


@pytest.fixture
def stock_xl() -> StableDiffusionXLPipeline:
    return tiny_xl_pipeline(torch.float64)


def modular_latents(parts: StableDiffusionXLPipeline, guider: BaseGuidance, **options: Any) -> np.ndarray:
    """Final latents of diffusers' modular pipeline with a guider."""
    blocks: SequentialPipelineBlocks = StableDiffusionXLAutoBlocks()
    modular = blocks.init_pipeline()
    modular.update_components(
        **{name: parts.components[name] for name in PARTS},
        guider=guider,
        force_zeros_for_empty_prompt=parts.config.force_zeros_for_empty_prompt,
    )
    modular.set_progress_bar_config(disable=True)
    latents: torch.Tensor = modular(
        prompt=PROMPTS,
        num_inference_steps=STEPS,
        height=16,
        width=16,
        latents=first_noise(SEEDS).double(),
        output_type="latent",
        output="latents",
        **options,
    )
    return latents.numpy()


@pytest.mark.parametrize(
    ("given", "arm"),
    [
        ({}, SegmentationFree()),
        ({"switch_after": 0, "segmentation_free_scale": 3.0}, SegmentationFree(3.0, switch_after=0)),
        (
            {"switch_after": 1, "heads": "per_head", "guidance_scale": 4.0, "segmentation_free_strength": 1.5},
            SegmentationFree(10.0, 1.5, 1, ClassifierFree(3.0), heads="per_head"),
        ),
        ({"switch_after": STEPS, "guidance_scale": 4.0}, ClassifierFree(3.0)),
    ],
)
def test_it_equals_the_library(
    xl64: StableDiffusionXLPipeline, stock_xl: StableDiffusionXLPipeline, given: dict[str, Any], arm: Any
) -> None:
    expected = run(xl64, {"arm": arm}, scheduler="euler").latents
    assert expected is not None
    found = modular_latents(stock_xl, SegmentationFreeGuidance(**given))
    np.testing.assert_allclose(found, expected["arm"], rtol=0, atol=1e-8)
    assert {type(each) for each in stock_xl.unet.attn_processors.values()} == {AttnProcessor2_0}


def test_the_pipeline_is_diffusers_own_without_it(stock_xl: StableDiffusionXLPipeline) -> None:
    before = modular_latents(stock_xl, ClassifierFreeGuidance(guidance_scale=8.5))
    ours = modular_latents(stock_xl, SegmentationFreeGuidance())
    assert np.array_equal(modular_latents(stock_xl, ClassifierFreeGuidance(guidance_scale=8.5)), before)
    assert np.abs(ours - before).max() > 1e-3
    until_the_end = SegmentationFreeGuidance(switch_after=STEPS)
    np.testing.assert_allclose(modular_latents(stock_xl, until_the_end), before, rtol=0, atol=1e-9)


def test_outside_of_its_window_the_prompt_s_prediction_is_taken_alone(stock_xl: StableDiffusionXLPipeline) -> None:
    calls: list[int] = []
    hook = stock_xl.unet.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    modular_latents(stock_xl, SegmentationFreeGuidance(start=0.25, stop=0.75))
    hook.remove()
    assert len(calls) == 1 + 2 + 2 + 1
    off = modular_latents(stock_xl, SegmentationFreeGuidance(start=0.0, stop=0.0))
    np.testing.assert_allclose(off, modular_latents(stock_xl, ClassifierFreeGuidance(1.0)), rtol=0, atol=1e-9)


def test_a_call_that_fails_leaves_nothing_behind_in_the_next(stock_xl: StableDiffusionXLPipeline) -> None:
    guider = SegmentationFreeGuidance(switch_after=0)
    before = modular_latents(stock_xl, guider)
    calls: list[int] = []

    def fail(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 2:  # the perturbed one
            raise KeyboardInterrupt

    hook = stock_xl.unet.register_forward_pre_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        modular_latents(stock_xl, guider)
    hook.remove()
    assert np.array_equal(modular_latents(stock_xl, guider), before)


def test_its_settings_are_stored_and_copied() -> None:
    guider = SegmentationFreeGuidance(segmentation_free_scale=5.0, heads="per_head", switch_after=3)
    again = guider.new(segmentation_free_strength=1.0)
    assert again.config["segmentation_free_scale"] == 5.0
    assert (again.config["heads"], again.config["switch_after"]) == ("per_head", 3)
    assert again.config["segmentation_free_strength"] == 1.0
    assert again.is_unconditional


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"segmentation_free_scale": float("inf")}, "scale must be a finite number"),
        ({"heads": "median"}, "heads must be one of mean, per_head"),
        ({"switch_after": -1}, "switch_after must be a whole number of at least 0"),
    ],
)
def test_what_cannot_be_used_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(GuidanceError, match=message):
        SegmentationFreeGuidance(**given)


def test_a_network_that_is_no_unet_is_refused(stock_xl: StableDiffusionXLPipeline) -> None:
    guider = SegmentationFreeGuidance(switch_after=0)
    guider.set_state(step=0, num_inference_steps=4, timestep=torch.tensor(1))
    network = torch.nn.Linear(2, 2)
    guider.prepare_models(network)
    with pytest.raises(InputError, match="needs a UNet with cross-attention, not Linear"):
        guider.prepare_models(network)
    late = SegmentationFreeGuidance(switch_after=9)
    with pytest.raises(GuidanceError, match=r"switch_after must lie in 0…4 for 4 steps, not 9"):
        modular_latents(stock_xl, late)
