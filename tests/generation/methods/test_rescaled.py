"""Rescaled classifier-free guidance (Lin et al. 2023) against diffusers' own function in a slow trajectory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from evenhand.generation.guidance import ClassifierFree, GuidanceError, fingerprint, from_dict
from evenhand.generation.methods.classifier_free import Rescaling
from evenhand.generation.methods.rows import PROMPT, Conditioning, Moment
from tests.helpers.runs import PROMPTS, SEEDS, STEPS, first_noise, run, use_scheduler
from tests.helpers.slow_guidance import Predict, classifier_free, slow_latents


@pytest.mark.parametrize("phi", [0.3, 1.0])
def test_it_equals_diffusers(pipeline64: StableDiffusionPipeline, phi: float) -> None:
    result = run(
        pipeline64, {"arm": ClassifierFree(7.5, "a star", rescale=phi), "plain": ClassifierFree(7.5, "a star")}
    )
    assert result.latents is not None
    for picture in (0, 1):

        def guide(_iteration: int, predict: Predict, picture: int = picture) -> torch.Tensor:
            guided = classifier_free(predict, picture, 7.5, "a star")
            return rescale_noise_cfg(guided, predict(PROMPTS[picture]), phi)

        expected = slow_latents(pipeline64, picture, guide)
        np.testing.assert_allclose(result.latents["arm"][picture], expected, rtol=0, atol=1e-9)
        assert np.abs(result.latents["plain"][picture] - expected).max() > 1e-3


def test_it_equals_the_stock_pipelines_guidance_rescale(
    pipeline: StableDiffusionPipeline, stock: StableDiffusionPipeline
) -> None:
    use_scheduler(stock, "ddim")
    settings: dict = {"latents": first_noise(SEEDS), "num_inference_steps": STEPS, "output_type": "latent"}
    expected = stock(PROMPTS, guidance_scale=8.5, guidance_rescale=0.7, **settings).images
    result = run(pipeline, {"arm": ClassifierFree(7.5, rescale=0.7)})
    assert result.latents is not None
    np.testing.assert_allclose(result.latents["arm"], expected.numpy(), rtol=0, atol=1e-4)


def test_a_prediction_without_spread_stays() -> None:
    flat = torch.ones(4, 2, 2)
    rule = Rescaling(Conditioning(""), 7.5, 1.0)
    predictions = {PROMPT: flat, Conditioning(""): flat}
    assert torch.equal(rule.combine(predictions, {}, Moment(flat, 0.5, "epsilon", torch.Tensor)).prediction, flat)


def test_it_is_stored_only_where_it_is_used() -> None:
    assert "rescale" not in ClassifierFree(rescale=0).to_dict()
    rescaled = ClassifierFree(rescale=0.7)
    assert rescaled.to_dict()["rescale"] == 0.7
    assert from_dict(rescaled.to_dict()) == rescaled
    assert fingerprint(rescaled) != fingerprint(ClassifierFree())
    assert rescaled.label() == "CFG w=7.5 (diffusers 8.5), φ=0.7"
    with pytest.raises(GuidanceError, match=r"rescale must lie in 0…1, not 1\.5"):
        ClassifierFree(rescale=1.5)
