"""Adaptive projected guidance against diffusers' AdaptiveProjectedGuidance in a slow trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

from evenhand.generation.guidance import ClassifierFree
from evenhand.generation.methods.adaptive_projected import AdaptiveProjected, Projection
from evenhand.generation.methods.rows import PROMPT, Conditioning, Moment
from evenhand.generation.plan import SCHEDULERS
from tests.helpers.runs import PROMPTS, STEPS, run
from tests.helpers.slow_guidance import Predict, classifier_free, slow_latents

ARMS = {
    "output": AdaptiveProjected(space="output", switch_after=1),
    "output, from the start": AdaptiveProjected(12.0, space="output", switch_after=0),
    "output, short": AdaptiveProjected(norm_limit=0.2, space="output", switch_after=0, negative_prompt="a star"),
    "output, no limit": AdaptiveProjected(momentum=0.5, norm_limit=None, eta=0.3, space="output", switch_after=0),
    "clean": AdaptiveProjected(switch_after=1),
    "clean, short": AdaptiveProjected(12.0, norm_limit=0.2, eta=0.3, switch_after=0),
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
            pair = [predict(PROMPTS[picture]), predict(arm.negative_prompt)]
            keeps, adds = predict.signal.double().sqrt(), (1 - predict.signal.double()).sqrt()
            if arm.space == "clean":
                pair = [(predict.latents - adds * each) / keeps for each in pair]
            # "Original formulation": the step is added to the conditional prediction, as in the paper.
            guided = normalized_guidance(*pair, arm.strength, b, arm.eta, arm.norm_limit or 0.0, True)
            return (predict.latents - keeps * guided) / adds if arm.space == "clean" else guided

        expected = slow_latents(pipeline64, picture, guide)
        np.testing.assert_allclose(result.latents["arm"][picture], expected, rtol=0, atol=1e-7)
        assert np.abs(result.latents["opening"][picture] - expected).max() > 1e-3


def test_the_settings_all_matter(pipeline: StableDiffusionPipeline) -> None:
    result = run(
        pipeline,
        ARMS | {"whole": AdaptiveProjected(norm_limit=None, space="output", switch_after=0, negative_prompt="a star")},
    )
    assert result.latents is not None
    latents = list(result.latents.values())
    for index, one in enumerate(latents):
        assert all(np.abs(one - other).max() > 1e-4 for other in latents[:index])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("space", ["clean", "output"])
def test_without_its_three_changes_it_is_classifier_free_guidance(
    pipeline64: StableDiffusionPipeline, space: Any, scheduler: str
) -> None:
    bare = AdaptiveProjected(7.5, momentum=0, norm_limit=None, eta=1, space=space, switch_after=0)
    result = run(pipeline64, {"bare": bare, "cfg": ClassifierFree(7.5)}, scheduler=scheduler)
    assert result.latents is not None
    np.testing.assert_allclose(result.latents["bare"], result.latents["cfg"], rtol=0, atol=1e-8)


def test_equal_predictions_and_zero_ones_are_decided() -> None:
    rule = Projection(Conditioning(""), 7.5, -0.5, 0.0, 0.0, "output")
    for value in (torch.ones(4, 2, 2), torch.zeros(4, 2, 2)):
        moment = Moment(value, 0.5, "epsilon", torch.Tensor)
        guided = rule.combine({PROMPT: value, Conditioning(""): value}, {}, moment)
        assert torch.equal(guided.prediction, value)


def test_its_label() -> None:
    assert AdaptiveProjected().label() == "APG w=7.5, after T/2"
    arm = AdaptiveProjected(9.0, 0.0, None, 0.5, "output", "fog", switch_after=0)
    assert arm.label() == "APG w=9, β=0, r=none, η=0.5, space=output, not “fog”, after 0"
    assert arm.short_name() == "APG w = 9"
