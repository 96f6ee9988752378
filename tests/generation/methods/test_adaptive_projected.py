"""Adaptive projected guidance against diffusers' AdaptiveProjectedGuidance in a slow trajectory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

from evenhand.generation.guidance import ClassifierFree
from evenhand.generation.methods.adaptive_projected import AdaptiveProjected, Projection
from evenhand.generation.methods.rows import PROMPT, Conditioning
from tests.helpers.runs import PROMPTS, STEPS, run
from tests.helpers.slow_guidance import Predict, classifier_free, slow_latents

ARMS = {
    "defaults": AdaptiveProjected(switch_after=1),
    "from the start": AdaptiveProjected(12.0, switch_after=0),
    "short": AdaptiveProjected(norm_limit=0.2, switch_after=0, negative_prompt="a star"),
    "no limit": AdaptiveProjected(momentum=0.5, norm_limit=None, eta=0.3, switch_after=0),
}


@pytest.mark.parametrize("name", ARMS)
def test_it_equals_diffusers(pipeline64: StableDiffusionPipeline, name: str) -> None:
    arm = ARMS[name]
    switch = arm.switch_iteration(STEPS)
    result = run(pipeline64, {"arm": arm, "opening": ClassifierFree()})
    assert result.latents is not None
    for picture in (0, 1):
        buffer = MomentumBuffer(arm.momentum)

        def guide(iteration: int, predict: Predict, picture: int = picture, b: MomentumBuffer = buffer) -> torch.Tensor:
            if iteration < switch:
                return classifier_free(predict, picture, 7.5)
            pair = predict(PROMPTS[picture]), predict(arm.negative_prompt)
            # "Original formulation": the step is added to the conditional prediction, as in the paper.
            return normalized_guidance(*pair, arm.strength, b, arm.eta, arm.norm_limit or 0.0, True)

        expected = slow_latents(pipeline64, picture, guide)
        np.testing.assert_allclose(result.latents["arm"][picture], expected, rtol=0, atol=1e-7)
        assert np.abs(result.latents["opening"][picture] - expected).max() > 1e-3


def test_the_settings_all_matter(pipeline: StableDiffusionPipeline) -> None:
    result = run(
        pipeline, ARMS | {"whole": AdaptiveProjected(norm_limit=None, switch_after=0, negative_prompt="a star")}
    )
    assert result.latents is not None
    latents = list(result.latents.values())
    for index, one in enumerate(latents):
        assert all(np.abs(one - other).max() > 1e-4 for other in latents[:index])


def test_without_its_three_changes_it_is_classifier_free_guidance(pipeline64: StableDiffusionPipeline) -> None:
    bare = AdaptiveProjected(7.5, momentum=0, norm_limit=None, eta=1, switch_after=0)
    result = run(pipeline64, {"bare": bare, "cfg": ClassifierFree(7.5)})
    assert result.latents is not None
    np.testing.assert_allclose(result.latents["bare"], result.latents["cfg"], rtol=0, atol=1e-9)


def test_equal_predictions_and_zero_ones_are_decided() -> None:
    rule = Projection(Conditioning(""), 7.5, -0.5, 0.0, 0.0)
    for value in (torch.ones(4, 2, 2), torch.zeros(4, 2, 2)):
        guided = rule.combine({PROMPT: value, Conditioning(""): value}, {}, torch.Tensor)
        assert torch.equal(guided.prediction, value)


def test_its_label() -> None:
    assert AdaptiveProjected().label() == "APG w=7.5, after T/2"
    arm = AdaptiveProjected(9.0, 0.0, None, 0.5, "fog", switch_after=0)
    assert arm.label() == "APG w=9, β=0, r=none, η=0.5, not “fog”, after 0"
    assert arm.short_name() == "APG w = 9"
