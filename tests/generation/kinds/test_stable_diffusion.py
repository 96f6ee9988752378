"""Stable Diffusion 2's v-prediction: the network predicts √ᾱ·ε − √(1−ᾱ)·x, and guidance combines what it predicts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.compared_arms import ARMS
from tests.helpers.reference import reference_latents
from tests.helpers.runs import CFG, PROMPTS, SEEDS, STEPS, first_noise, run, use_scheduler
from tests.helpers.tiny_models import tiny_pipeline


@pytest.mark.parametrize("scheduler", ["ddim", "dpm_solver", "euler", "pndm"])
def test_v_prediction_is_the_stock_pipelines_bit_for_bit(scheduler: str) -> None:
    stock, ours = (tiny_pipeline(prediction_type="v_prediction") for _ in range(2))
    use_scheduler(stock, scheduler)
    latents = stock(
        PROMPTS, guidance_scale=8.5, latents=first_noise(SEEDS), num_inference_steps=STEPS, output_type="latent"
    ).images
    result = run(ours, {"cfg": CFG}, scheduler=scheduler)
    assert result.latents is not None
    assert np.array_equal(result.latents["cfg"], latents.numpy())
    assert result.provenance["scheduler"]["config"]["prediction_type"] == "v_prediction"


def test_every_arm_equals_the_reference_with_v_prediction() -> None:
    pipeline = tiny_pipeline(torch.float64, prediction_type="v_prediction")
    result = run(pipeline, {name: ours for name, (ours, _) in ARMS.items()})
    assert result.latents is not None
    for name, (_, theirs) in ARMS.items():
        expected, _ = reference_latents(pipeline, PROMPTS[1], SEEDS[1], theirs, steps=STEPS, scheduler="ddim")
        np.testing.assert_allclose(result.latents[name][1], expected.numpy(), rtol=0, atol=1e-7, err_msg=name)
