"""Classifier-free guidance in a limited interval, against a loop of one network call for each prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from evenhand.generation.guidance import ClassifierFree, GuidanceError, SegmentationFree, fingerprint, from_dict
from tests.helpers.reference import noise_of, scheduler_of
from tests.helpers.runs import PROMPTS, SEEDS, STEPS, run


@torch.no_grad()
def slow_latents(pipeline: StableDiffusionPipeline, picture: int, guided: set[int], w: float) -> np.ndarray:
    text, empty = pipeline.encode_prompt(PROMPTS[picture], pipeline.device, 1, True)
    scheduler = scheduler_of("ddim", dict(pipeline.scheduler.config))
    scheduler.set_timesteps(STEPS)
    latents = noise_of(SEEDS[picture], 0, (4, 8, 8)).to(text.dtype)
    for iteration, t in enumerate(scheduler.timesteps):
        prediction = pipeline.unet(latents, t, text).sample
        if iteration in guided:
            prediction = (1 + w) * prediction - w * pipeline.unet(latents, t, empty).sample
        latents = scheduler.step(prediction, t, latents, return_dict=False)[0]
    return latents[0].numpy()


@pytest.mark.parametrize(
    ("first", "stop", "guided"), [(1, 3, {1, 2}), (2, None, {2, 3}), (0, 1, {0}), (4, None, set())]
)
def test_only_the_interval_is_guided(
    pipeline64: StableDiffusionPipeline, first: int, stop: int | None, guided: set[int]
) -> None:
    result = run(pipeline64, {"interval": ClassifierFree(7.5, first=first, stop=stop), "whole": ClassifierFree(7.5)})
    assert result.latents is not None
    for picture in (0, 1):
        expected = slow_latents(pipeline64, picture, guided, 7.5)
        np.testing.assert_allclose(result.latents["interval"][picture], expected, rtol=0, atol=1e-7)
        assert np.abs(result.latents["whole"][picture] - expected).max() > 1e-4


def test_a_picture_with_an_interval_is_the_same_alone_and_in_company(pipeline: StableDiffusionPipeline) -> None:
    arm = ClassifierFree(7.5, first=1, stop=3)
    alone = run(pipeline, {"interval": arm})
    company = run(pipeline, {"sfg": SegmentationFree(5, switch_after=1), "interval": arm})
    np.testing.assert_array_equal(alone.images["interval"], company.images["interval"])
    assert alone.latents is not None
    assert company.latents is not None
    np.testing.assert_array_equal(alone.latents["interval"], company.latents["interval"])


def test_stored_arms_keep_their_settings_and_fingerprints() -> None:
    assert ClassifierFree().to_dict() == {"method": "classifier_free", "strength": 7.5, "negative_prompt": ""}
    limited = ClassifierFree(first=1, stop=3)
    assert from_dict(limited.to_dict()) == limited
    assert fingerprint(limited) != fingerprint(ClassifierFree())


@pytest.mark.parametrize(("name", "value"), [("first", -1), ("first", None), ("stop", 0), ("stop", 2.5)])
def test_an_interval_must_be_one(name: str, value: object) -> None:
    with pytest.raises(GuidanceError, match=f"{name}.*not {value}"):
        ClassifierFree(**{name: value})  # type: ignore[arg-type]
