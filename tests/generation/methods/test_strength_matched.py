"""The arm that has another method's effective strength, picture by picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from evenhand.generation.guidance import ClassifierFree, Guidance, GuidanceError
from evenhand.generation.methods.adaptive_projected import AdaptiveProjected
from evenhand.generation.methods.classifier_free_plus_plus import ClassifierFreePlusPlus
from evenhand.generation.methods.perturbed_attention import PerturbedAttention
from evenhand.generation.methods.rows import EMPTY, PROMPT, Guided, Moment, Rule
from evenhand.generation.methods.segmentation_free import SegmentationFree
from evenhand.generation.methods.strength_matched import AlongText, StrengthMatched, matched_per_picture
from tests.helpers.runs import PROMPTS, run

MOMENT = Moment(torch.zeros(2, 1, 1), 0.5, "epsilon", lambda: torch.zeros(2, 1, 1))


class Fixed(Rule):
    """A rule that always predicts (4, 3)."""

    def combine(self, predictions: object, memory: object, moment: object) -> Guided:
        return Guided(torch.tensor([4.0, 3.0]).view(2, 1, 1))


def test_a_step_is_projected_onto_the_texts_direction() -> None:
    """ε(∅) = (1, 1), ε(c) = (2, 1): d = (1, 0), v = (3, 2), ω = 3, so p + (ω − 1)·d = (4, 1)."""
    predictions = {PROMPT: torch.tensor([2.0, 1.0]).view(2, 1, 1), EMPTY: torch.tensor([1.0, 1.0]).view(2, 1, 1)}
    assert AlongText(Fixed(), 1.0).combine(predictions, {}, MOMENT).prediction.flatten().tolist() == [4.0, 1.0]
    assert AlongText(Fixed(), 0.5).combine(predictions, {}, MOMENT).prediction.flatten().tolist() == [3.0, 1.0]


def test_without_a_direction_the_prompts_prediction_stays() -> None:
    same = torch.tensor([2.0, 1.0]).view(2, 1, 1)
    made = AlongText(Fixed(), 1.0).combine({PROMPT: same, EMPTY: same.clone()}, {}, MOMENT)
    assert torch.equal(made.prediction, same)


@pytest.mark.parametrize(
    "method",
    [
        SegmentationFree(10.0, 2.5, 1, ClassifierFree(3.0)),
        AdaptiveProjected(7.5, switch_after=1, opening=ClassifierFree(3.0)),
        PerturbedAttention(3.0, switch_after=1, opening=ClassifierFree(3.0)),
    ],
    ids=lambda method: method.method,
)
def test_it_has_the_methods_strength_and_no_new_direction(
    pipeline64: StableDiffusionPipeline, method: Guidance
) -> None:
    """Until the first iteration after the switch both have the same latents, so that one's strength is the other's."""
    arms = {"method": method, "matched": matched_per_picture(method)}
    made = run(pipeline64, arms, measure_strength=True)
    method_omega, matched_omega = (made.effective_strengths[name] for name in arms)
    np.testing.assert_allclose(matched_omega[:, :2, 0], method_omega[:, :2, 0], rtol=1e-9)
    assert np.abs(matched_omega[..., 1]).max() < 1e-6
    assert (method_omega[:, 1:, 1] > 0.01).all()  # the method has one
    assert len(set(matched_omega[:, 2, 0])) == len(PROMPTS)  # each picture its own


def test_a_methods_memory_is_kept(pipeline64: StableDiffusionPipeline) -> None:
    """Adaptive projected guidance with momentum is another method than without; so is what matches it."""
    arms = {
        f"{momentum}": matched_per_picture(
            AdaptiveProjected(7.5, momentum=momentum, switch_after=1, opening=ClassifierFree(3.0))
        )
        for momentum in (0.0, -0.5)
    }
    made = run(pipeline64, arms, measure_strength=True)
    without, with_it = made.effective_strengths.values()
    assert np.array_equal(without[:, :2], with_it[:, :2])
    assert (np.abs(without[:, 2, 0] - with_it[:, 2, 0]) > 1e-3).all()


def test_it_shares_the_methods_opening() -> None:
    method = SegmentationFree(5.0, 1.0, 7, ClassifierFree(2.0))
    arm = matched_per_picture(method)
    assert (arm.switch_after, arm.opening) == (7, ClassifierFree(2.0))
    assert math.isclose(arm.strength, 1.0)
    assert method.label() in arm.label()


@pytest.mark.parametrize("method", [ClassifierFreePlusPlus(), StrengthMatched()], ids=lambda method: method.method)
def test_what_cannot_be_matched_is_refused_by_name(method: Guidance) -> None:
    with pytest.raises(GuidanceError, match=method.method):
        StrengthMatched(guidance=method)
