"""diffusers' own way in: the parent where no scale is given, ``generate`` where one is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, HeunDiscreteScheduler, StableDiffusionPipeline
from diffusers.callbacks import SDCFGCutoffCallback

from evenhand.generation.checkpoint import load_pipeline
from evenhand.generation.guidance import ClassifierFree, GuidanceError, SegmentationFree
from evenhand.generation.pipeline import SegmentationFreeStableDiffusionPipeline
from evenhand.generation.text import PromptTruncated
from tests.helpers.runs import PROMPTS, SEEDS, STEPS, first_noise, run, use_scheduler
from tests.helpers.tiny_models import tiny_pipeline

CALL: dict[str, Any] = {"num_inference_steps": STEPS, "guidance_scale": 8.5, "output_type": "latent"}


@pytest.fixture
def ours() -> SegmentationFreeStableDiffusionPipeline:
    """A fresh one of the tiny weights."""
    pipeline = SegmentationFreeStableDiffusionPipeline(**tiny_pipeline().components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def test_it_is_loaded_and_saved_like_its_parent(checkpoint: Path, tmp_path: Path) -> None:
    loaded = SegmentationFreeStableDiffusionPipeline.from_pretrained(checkpoint, safety_checker=None)
    assert type(loaded) is SegmentationFreeStableDiffusionPipeline
    assert loaded.components.keys() == StableDiffusionPipeline.from_pretrained(checkpoint).components.keys()
    loaded.save_pretrained(tmp_path / "saved")
    assert load_pipeline(tmp_path / "saved", device="cpu").unet.config.cross_attention_dim == 32


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"guidance_scale": 1.0, "output_type": "np"},
        {"negative_prompt": ["a cat", "a dog"], "num_images_per_prompt": 2, "output_type": "np"},
    ],
)
def test_without_a_scale_it_is_its_parent_bit_for_bit(
    ours: SegmentationFreeStableDiffusionPipeline, stock: StableDiffusionPipeline, options: dict[str, Any]
) -> None:
    ours(PROMPTS, segmentation_free_scale=10.0, **CALL)  # what was done before leaves nothing behind
    seeded: dict[str, Any] = {"generator": generators()} if "num_images_per_prompt" not in options else {}
    settings = CALL | options
    torch.manual_seed(4)
    theirs = stock(PROMPTS, **settings, **seeded).images
    torch.manual_seed(4)
    again: dict[str, Any] = {"generator": generators()} if seeded else {}
    assert np.array_equal(ours(PROMPTS, **settings, **again).images, theirs)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm_solver", "euler", "pndm"])
@pytest.mark.parametrize("switch_after", [0, 1, STEPS])
def test_with_a_scale_it_equals_generate_from_the_same_latents(
    pipeline: StableDiffusionPipeline,
    ours: SegmentationFreeStableDiffusionPipeline,
    scheduler: str,
    switch_after: int,
) -> None:
    use_scheduler(ours, scheduler)
    expected = run(pipeline, {"a": SegmentationFree(10.0, switch_after=switch_after)}, scheduler=scheduler)
    latents = ours(
        PROMPTS, segmentation_free_scale=10.0, switch_after=switch_after, latents=first_noise(SEEDS), **CALL
    ).images
    assert expected.latents is not None
    assert np.array_equal(latents.numpy(), expected.latents["a"])


def test_every_setting_reaches_the_guidance(
    pipeline: StableDiffusionPipeline, ours: SegmentationFreeStableDiffusionPipeline
) -> None:
    use_scheduler(ours, "ddim")
    guidance = SegmentationFree(5.0, 1.5, 1, ClassifierFree(4.0, "a blue star"), heads="per_head", tokens="prompt")
    expected = run(pipeline, {"a": guidance})
    pictures = ours(
        PROMPTS,
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        negative_prompt=["a blue star"] * 2,
        segmentation_free_scale=5.0,
        segmentation_free_strength=1.5,
        switch_after=1,
        heads="per_head",
        tokens="prompt",
        generator=generators(),
        output_type="np",
    ).images
    assert np.array_equal((pictures * 255).round().astype(np.uint8), expected.images["a"])


def test_generators_several_pictures_a_prompt_and_embeddings_agree(
    ours: SegmentationFreeStableDiffusionPipeline,
) -> None:
    """The same two pictures of one prompt, asked for in three ways; all calls have the same rows."""
    settings = CALL | {"segmentation_free_scale": 10.0}
    listed = ours([PROMPTS[0]] * 2, generator=generators(), **settings).images
    several = ours(PROMPTS[0], num_images_per_prompt=2, generator=generators(), **settings).images
    embeds, negative = ours.encode_prompt([PROMPTS[0]] * 2, "cpu", 1, True)
    given = ours(prompt_embeds=embeds, negative_prompt_embeds=negative, generator=generators(), **settings).images
    assert torch.equal(listed, given)
    torch.testing.assert_close(several, listed, rtol=0, atol=1e-4)  # its one text was encoded in a call of one row
    for switch_after in (0, 2):  # both ways to the first segmentation-free iteration repeat prompts in the same order
        pairs = ours(PROMPTS, num_images_per_prompt=2, switch_after=switch_after, tokens="prompt", **settings)
        assert len(pairs.images) == 4


def test_callbacks_see_and_change_what_they_ask_for(ours: SegmentationFreeStableDiffusionPipeline) -> None:
    seen: list[tuple[int, list[str], float]] = []

    def look(pipeline: Any, index: int, _: object, values: dict[str, torch.Tensor]) -> dict[str, Any]:
        seen.append((index, sorted(values), pipeline.guidance_scale))
        return {"latents": torch.zeros_like(values["latents"])} if index == STEPS - 1 else {}

    latents = ours(PROMPTS, segmentation_free_scale=10.0, callback_on_step_end=look, **CALL).images
    assert seen == [(0, ["latents"], 8.5), (1, ["latents"], 8.5), (2, ["latents"], 3.5), (3, ["latents"], 3.5)]
    assert not latents.any()


def test_a_callback_that_drops_half_of_the_rows_is_refused(ours: SegmentationFreeStableDiffusionPipeline) -> None:
    cut = SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=1)
    with pytest.raises(ValueError, match=r"callback_on_step_end changed prompt_embeds from \(2, 77, 32\) to \(1, "):
        ours(PROMPTS[0], segmentation_free_scale=10.0, callback_on_step_end=cut, **CALL)


def test_a_second_order_scheduler_switches_between_iterations(ours: SegmentationFreeStableDiffusionPipeline) -> None:
    """Heun calls the network twice an iteration, the last time once."""
    ours.scheduler = HeunDiscreteScheduler.from_config(ours.scheduler.config)
    scales: list[float] = []

    def look(pipeline: Any, *_: object) -> dict[str, Any]:
        scales.append(pipeline.guidance_scale)
        return {}

    ours(PROMPTS[0], segmentation_free_scale=10.0, switch_after=1, callback_on_step_end=look, **CALL)
    assert scales == [8.5] * 2 + [3.5] * 5


@pytest.mark.parametrize("given", ["sigmas", "timesteps"])
@pytest.mark.parametrize("switch_after", [None, 1, STEPS - 1, STEPS])
def test_a_schedule_of_ones_own_switches_as_the_number_of_its_iterations_does(
    ours: SegmentationFreeStableDiffusionPipeline, given: str, switch_after: int | None
) -> None:
    """Euler's sigmas end in one that begins no iteration; arrays are taken as lists are."""
    ours.scheduler = EulerDiscreteScheduler.from_config(ours.scheduler.config)
    ours.scheduler.set_timesteps(STEPS)
    schedule = getattr(ours.scheduler, given).numpy()
    settings = CALL | {"segmentation_free_scale": 10.0, "switch_after": switch_after}
    expected = ours(PROMPTS, generator=generators(), **settings).images
    latents = ours(PROMPTS, generator=generators(), **settings | {given: schedule}).images
    torch.testing.assert_close(latents, expected, rtol=1e-3, atol=1e-3)  # timesteps are found again from the sigmas
    as_list = ours(PROMPTS, generator=generators(), **settings | {given: schedule.tolist()}).images
    assert torch.equal(as_list, latents)


# ------------------------------------------------------------------------------ bad input


def test_sigmas_that_the_scheduler_does_not_take_are_refused(ours: SegmentationFreeStableDiffusionPipeline) -> None:
    use_scheduler(ours, "ddim")
    with pytest.raises(ValueError, match="does not support custom"):
        ours(PROMPTS, segmentation_free_scale=10.0, sigmas=[1.0, 0.5, 0.0], **CALL)


@pytest.mark.parametrize("scale", [None, 10.0])
def test_words_that_are_cut_are_named(ours: SegmentationFreeStableDiffusionPipeline, scale: float | None) -> None:
    long = " ".join(["dog"] * 75 + ["red", "star"])
    with pytest.warns(PromptTruncated, match="prompt 0 is longer than the model's 77 tokens.*'red star'") as caught:
        ours(long, segmentation_free_scale=scale, **CALL | {"num_inference_steps": 1})
    assert len([each for each in caught if each.category is PromptTruncated]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segmentation_free_scale": math.nan}, "scale must be a finite number, not nan"),
        ({"segmentation_free_strength": math.inf}, "strength must be a finite number, not inf"),
        ({"switch_after": STEPS + 1}, f"switch_after must lie in 0…{STEPS} for {STEPS} steps, not {STEPS + 1}"),
        ({"switch_after": -1}, "switch_after .* not -1"),
        ({"heads": "max"}, "heads must be one of mean, per_head, not 'max'"),
        ({"tokens": "none"}, "tokens must be one of all, prompt, not 'none'"),
    ],
)
def test_settings_out_of_range_are_named(
    ours: SegmentationFreeStableDiffusionPipeline, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(GuidanceError, match=message):
        ours(PROMPTS[0], **{"segmentation_free_scale": 10.0} | options, **CALL)


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_a_guidance_scale_that_is_no_number_is_refused(
    ours: SegmentationFreeStableDiffusionPipeline, scale: float
) -> None:
    with pytest.raises(GuidanceError, match="strength must be a finite number, not"):
        ours(PROMPTS[0], segmentation_free_scale=10.0, **CALL | {"guidance_scale": scale})


def test_a_size_is_kept_or_refused(ours: SegmentationFreeStableDiffusionPipeline) -> None:
    """The parent drops a height that comes without a width."""
    latents = ours(PROMPTS[0], height=24, segmentation_free_scale=10.0, **CALL).images
    assert latents.shape[2:] == (12, 8)
    sizes: list[dict[str, Any]] = [{"height": 23}, {"width": 0}, {"height": 24, "width": 7}]
    for size in sizes:
        with pytest.raises(ValueError, match="must be a positive multiple of 2 pixels, not"):
            ours(PROMPTS[0], segmentation_free_scale=10.0, **size, **CALL)


def test_prompts_that_say_nothing_are_refused_under_the_guidance_only(
    ours: SegmentationFreeStableDiffusionPipeline,
) -> None:
    assert len(ours("", **CALL).images) == 1  # the parent takes it
    with pytest.raises(ValueError, match="prompt 0 must be a text with at least one word, not ''"):
        ours("", segmentation_free_scale=10.0, **CALL)
    with pytest.raises(ValueError, match="both are None"):
        ours(segmentation_free_scale=10.0, **CALL)
    with pytest.raises(ValueError, match="tokens='prompt' needs the prompt as text"):
        ours(prompt_embeds=torch.ones(1, 77, 32), segmentation_free_scale=10.0, tokens="prompt", **CALL)
