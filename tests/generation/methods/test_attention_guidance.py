"""Perturbed-attention and smoothed-energy guidance against slow trajectories and diffusers' own pipeline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPAGPipeline, StableDiffusionPipeline

from evenhand.generation.guidance import ClassifierFree, Guidance, GuidanceError
from evenhand.generation.methods.attention_guidance import SelfAttentionGuidance
from evenhand.generation.methods.perturbed_attention import PerturbedAttention
from evenhand.generation.methods.smoothed_energy import SmoothedEnergy
from evenhand.generation.plan import count_evaluations, plan
from evenhand.generation.self_attention import LayerError
from evenhand.generation.trajectory import generate
from tests.helpers.runs import PROMPTS, SEEDS, STEPS, first_noise, run, use_scheduler
from tests.helpers.slow_guidance import Predict, classifier_free, slow_latents
from tests.helpers.slow_self_attention import slow_self_attention

ARMS: dict[str, SelfAttentionGuidance] = {
    "PAG": PerturbedAttention(switch_after=0),
    "PAG after an opening": PerturbedAttention(5.0, switch_after=2),
    "PAG with CFG in a window": PerturbedAttention(
        first=1, stop=3, text_strength=4.0, negative_prompt="a star", switch_after=0
    ),
    "PAG in other layers": PerturbedAttention(layers=("down_blocks.0",), switch_after=0),
    "SEG": SmoothedEnergy(switch_after=0),
    "SEG, narrow": SmoothedEnergy(3.0, ("down_blocks.0",), blur=0.6, switch_after=1),
    "SEG, infinite": SmoothedEnergy(layers=("up_blocks.1",), blur=None, switch_after=0),
    "SEG with CFG": SmoothedEnergy(first=2, text_strength=7.5, blur=1.5, switch_after=0),
}


def slow(pipeline: StableDiffusionPipeline, arm: SelfAttentionGuidance, picture: int) -> np.ndarray:
    prompt = PROMPTS[picture]
    sigma = arm.change.blur

    def guide(iteration: int, predict: Predict) -> torch.Tensor:
        if iteration < arm.switch_iteration(STEPS):
            return classifier_free(predict, picture, 7.5)
        guided = classifier_free(predict, picture, arm.text_strength, arm.negative_prompt)
        if iteration < arm.first or (arm.stop is not None and iteration >= arm.stop):
            return guided
        with slow_self_attention(pipeline, arm.layers[0], sigma):
            perturbed = predict(prompt)
        return guided + arm.strength * (predict(prompt) - perturbed)

    return slow_latents(pipeline, picture, guide)


@pytest.mark.parametrize("name", ARMS)
def test_it_equals_the_slow_trajectory(pipeline64: StableDiffusionPipeline, name: str) -> None:
    result = run(pipeline64, {"arm": ARMS[name]})
    assert result.latents is not None
    for picture in (0, 1):
        expected = slow(pipeline64, ARMS[name], picture)
        np.testing.assert_allclose(result.latents["arm"][picture], expected, rtol=0, atol=1e-9)


def test_the_arms_of_the_comparison_all_differ(pipeline: StableDiffusionPipeline) -> None:
    arms: dict[str, Guidance] = {**ARMS, "cfg": ClassifierFree(), "plain": ClassifierFree(0.0)}
    result = run(pipeline, arms)
    assert result.latents is not None
    latents = list(result.latents.values())
    for index, one in enumerate(latents):
        assert all(np.abs(one - other).max(axis=(1, 2, 3)).min() > 1e-4 for other in latents[:index])


@pytest.mark.parametrize("text_strength", [0.0, 4.0])
def test_it_is_diffusers_perturbed_attention_pipeline(
    pipeline: StableDiffusionPipeline, stock: StableDiffusionPipeline, text_strength: float
) -> None:
    use_scheduler(stock, "ddim")
    parts = {name: part for name, part in stock.components.items() if name != "image_encoder"}
    theirs = StableDiffusionPAGPipeline(**parts, requires_safety_checker=False, pag_applied_layers=["mid"])
    theirs.set_progress_bar_config(disable=True)
    expected = theirs(
        PROMPTS,
        guidance_scale=1 + text_strength,
        pag_scale=3.0,
        num_inference_steps=STEPS,
        latents=first_noise(SEEDS),
        output_type="latent",
    ).images
    result = run(pipeline, {"arm": PerturbedAttention(3.0, text_strength=text_strength, switch_after=0)})
    assert result.latents is not None
    np.testing.assert_allclose(result.latents["arm"], expected.numpy(), rtol=0, atol=1e-4)


def test_pictures_need_not_be_square(pipeline: StableDiffusionPipeline) -> None:
    arms = {"arm": SmoothedEnergy(layers=("mid_block", "down_blocks.0"), blur=0.5, switch_after=0)}
    images = generate(pipeline, PROMPTS[:1], SEEDS[:1], arms, steps=2, height=14, width=10, batch_size=1).images
    assert images["arm"].shape == (1, 14, 10, 3)


def test_rows_follow_from_the_settings() -> None:
    pag = PerturbedAttention(switch_after=0)
    assert count_evaluations({"pag": pag}, 20) == 40
    assert count_evaluations({"pag": PerturbedAttention(text_strength=7.5, switch_after=0)}, 20) == 60
    assert count_evaluations({"pag": PerturbedAttention(first=5, stop=15, switch_after=0)}, 20) == 30
    # The row of changed attention is shared while the latents are one.
    assert count_evaluations({"pag": pag, "stronger": PerturbedAttention(4.0, switch_after=0)}, 1) == 2
    assert count_evaluations({"pag": pag, "seg": SmoothedEnergy(switch_after=0)}, 1) == 3
    # Before its window an arm with CFG beside it is CFG itself.
    late = PerturbedAttention(first=10, text_strength=7.5, switch_after=0)
    assert [len(step.branches) for step in plan({"cfg": ClassifierFree(), "late": late}, 20)] == [1] * 11 + [2] * 9


@pytest.mark.parametrize("layer", ["mid_blocks", "mid", "down_blocks.1", "up_blocks.1.attentions.0.proj_in"])
def test_a_layer_without_self_attention_is_named(pipeline: StableDiffusionPipeline, layer: str) -> None:
    with pytest.raises(LayerError, match=rf"'{layer}' holds no self-attention.*mid_block\.attentions\.0"):
        run(pipeline, {"arm": PerturbedAttention(layers=("mid_block", layer))})


@pytest.mark.parametrize("value", ["mid_block", [], [""], [1], None])
def test_layers_are_names(value: object) -> None:
    with pytest.raises(GuidanceError, match="layers must be a list"):
        PerturbedAttention(layers=value)  # type: ignore[arg-type]


def test_the_window_must_be_one() -> None:
    with pytest.raises(GuidanceError, match=r"stop must lie beyond first \(3\), not 3"):
        SmoothedEnergy(first=3, stop=3)


def test_labels_tell_layers_and_blur() -> None:
    assert PerturbedAttention().label() == "PAG s=3, after T/2"
    arm = SmoothedEnergy(2.0, ("mid_block", "down_blocks.2"), text_strength=7.5, blur=None, switch_after=0)
    assert arm.label() == "SEG s=2, layers=mid_block+down_blocks.2, w=7.5, σ=none, after 0"
