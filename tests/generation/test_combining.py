"""Effective strengths against sums written out, and what the measure costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from evenhand.generation.combining import effective_strengths
from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree
from evenhand.generation.methods.adaptive_projected import AdaptiveProjected
from evenhand.generation.methods.classifier_free_plus_plus import ClassifierFreePlusPlus
from evenhand.generation.methods.perturbed_attention import PerturbedAttention
from evenhand.generation.plan import count_evaluations
from tests.helpers.runs import PROMPTS, STEPS, run
from tests.helpers.slow_guidance import Predict, slow_latents


def test_the_measure_by_hand() -> None:
    """In the plane: d = (2, 0), v = (6, 8): ω = 12/4, and 8 of 10 lie across."""
    empty = torch.tensor([1.0, 1.0]).view(1, 2, 1, 1)
    conditional = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1)
    guided = torch.tensor([7.0, 9.0]).view(1, 2, 1, 1)
    assert effective_strengths(guided, conditional, empty).tolist() == [[3.0, 0.8]]
    assert effective_strengths(guided, empty, empty).isnan().all()
    strength, across = effective_strengths(empty, conditional, empty)[0]
    assert strength == 0
    assert across.isnan()


def test_classifier_free_guidance_has_its_own_strength(pipeline: StableDiffusionPipeline) -> None:
    arms: dict[str, Guidance] = {
        "cfg": ClassifierFree(7.5),
        "interval": ClassifierFree(3.0, first=1, stop=3),
        "++": ClassifierFreePlusPlus(0.6, switch_after=2),
        "sfg": SegmentationFree(10.0, switch_after=2),
        "apg": AdaptiveProjected(switch_after=2),
        "negative": ClassifierFree(7.5, "a star"),
    }
    measured = run(pipeline, arms, measure_strength=True).effective_strengths
    assert {each.shape for each in measured.values()} == {(2, STEPS, 2)}
    strengths = {name: each[:, :, 0] for name, each in measured.items()}
    np.testing.assert_allclose(strengths["cfg"], 8.5, rtol=1e-4)
    np.testing.assert_allclose(strengths["interval"], [[1, 4, 4, 1]] * 2, rtol=1e-4)
    np.testing.assert_allclose(strengths["++"], [[8.5, 8.5, 0.6, 0.6]] * 2, rtol=1e-4)
    np.testing.assert_allclose(strengths["sfg"][:, :2], 8.5, rtol=1e-4)
    across = {name: each[:, :, 1] for name, each in measured.items()}
    assert (across["cfg"] < 1e-3).all()
    for name, iterations in (("sfg", slice(2, None)), ("apg", slice(2, None)), ("negative", slice(None))):
        assert (across[name][:, iterations] > 0.01).all(), name
        assert (across[name] <= 1 + 1e-9).all()


def test_it_equals_the_slow_trajectory(pipeline64: StableDiffusionPipeline) -> None:
    arm = PerturbedAttention(3.0, switch_after=STEPS, opening=ClassifierFree(4.0, "a star"))
    measured = run(pipeline64, {"arm": arm}, measure_strength=True).effective_strengths["arm"]
    for picture in (0, 1):
        expected: list[tuple[float, float]] = []

        def guide(_iteration: int, predict: Predict, picture: int = picture, told: list = expected) -> torch.Tensor:
            conditional, empty = (predict(text)[0].numpy().ravel() for text in (PROMPTS[picture], ""))
            guided = 5 * predict(PROMPTS[picture]) - 4 * predict("a star")
            v, d = guided[0].numpy().ravel() - empty, conditional - empty
            strength = v @ d / (d @ d)
            told.append((strength, np.sqrt(max(0.0, 1 - (strength**2) * (d @ d) / (v @ v)))))
            return guided

        slow_latents(pipeline64, picture, guide)
        np.testing.assert_allclose(measured[picture], expected, rtol=1e-6)


def test_measuring_changes_no_picture_and_costs_the_rows_that_are_missing(pipeline: StableDiffusionPipeline) -> None:
    arms: dict[str, Guidance] = {"cfg": ClassifierFree(), "sfg": SegmentationFree(switch_after=2)}
    plain, measured = run(pipeline, arms), run(pipeline, arms, measure_strength=True)
    assert not plain.effective_strengths
    for name in arms:
        assert np.array_equal(plain.images[name], measured.images[name])
    # One row more in each iteration in which a branch holds the segmentation-free arm alone.
    assert measured.evaluations - plain.evaluations == len(PROMPTS) * (STEPS - 3)


@pytest.mark.parametrize("scheduler", ["pndm", "euler"])
def test_there_is_one_measure_an_iteration(pipeline: StableDiffusionPipeline, scheduler: str) -> None:
    measured = run(pipeline, {"cfg": ClassifierFree(2.0)}, scheduler=scheduler, measure_strength=True)
    np.testing.assert_allclose(measured.effective_strengths["cfg"][:, :, 0], np.full((2, STEPS), 3.0), rtol=1e-4)


def test_every_nth_iteration_is_measured_and_those_that_cost_nothing(pipeline: StableDiffusionPipeline) -> None:
    arms: dict[str, Guidance] = {"sfg": SegmentationFree(switch_after=1)}
    every, third = (run(pipeline, arms, measure_strength=each) for each in (1, 3))
    assert every.evaluations - third.evaluations == 2 * len(PROMPTS)  # iterations 1 and 2 of 0 … 3
    omega = third.effective_strengths["sfg"]
    assert np.isnan(omega[:, [1, 2]]).all()
    np.testing.assert_array_equal(omega[:, [0, 3]], every.effective_strengths["sfg"][:, [0, 3]])
    for each, made in ((1, every), (3, third)):
        assert count_evaluations(arms, STEPS, prompts=len(PROMPTS), measure_strength=each) == made.evaluations
