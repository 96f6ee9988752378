"""A schedule of strengths, and the arm that has the effective strength of another method but not its direction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline

from evenhand.generation.guidance import ClassifierFree, GuidanceError, SegmentationFree
from evenhand.generation.methods.scheduled_classifier_free import ScheduledClassifierFree, matched_to
from evenhand.generation.plan import count_evaluations
from tests.helpers.runs import STEPS, run

OPENING = ClassifierFree(3.0)
SFG = SegmentationFree(5.0, switch_after=1, opening=OPENING)


def latents_of(pipeline: StableDiffusionPipeline, guidance: object) -> np.ndarray:
    latents = run(pipeline, {"arm": guidance}).latents  # type: ignore[dict-item]
    assert latents is not None
    return latents["arm"]


def test_a_constant_schedule_is_classifier_free_guidance(pipeline: StableDiffusionPipeline) -> None:
    expected = latents_of(pipeline, ClassifierFree(4.0))
    assert np.array_equal(latents_of(pipeline, ScheduledClassifierFree((4.0,))), expected)
    assert np.array_equal(latents_of(pipeline, ScheduledClassifierFree((2.0, 2.0), strength=2.0)), expected)


def test_entries_belong_to_the_iterations_after_the_switch(pipeline64: StableDiffusionPipeline) -> None:
    """Against limited intervals, which are the same where an entry is 0."""
    interval = ClassifierFree(3.0, first=0, stop=2)
    for schedule in (
        ScheduledClassifierFree((3.0, 3.0, 0.0)),
        ScheduledClassifierFree((3.0, 0.0), switch_after=1, opening=OPENING),
    ):
        np.testing.assert_allclose(
            latents_of(pipeline64, schedule), latents_of(pipeline64, interval), rtol=0, atol=1e-9
        )


def test_a_matched_arm_has_the_methods_mean_strength_and_its_opening(pipeline64: StableDiffusionPipeline) -> None:
    measured = run(pipeline64, {"method": SFG}, measure_strength=True).effective_strengths["method"]
    omega = measured[..., 0]
    control = matched_to(SFG, omega.tolist())
    assert (control.switch_after, control.opening) == (1, OPENING)
    assert len(control.strengths) == STEPS - 1
    made = run(pipeline64, {"method": SFG, "control": control}, measure_strength=True)
    own = made.effective_strengths["control"]
    np.testing.assert_allclose(
        own[:, 1:, 0], np.broadcast_to(omega[:, 1:].mean(axis=0), own[:, 1:, 0].shape), rtol=1e-9
    )
    np.testing.assert_allclose(own[:, 1:, 1], 0.0, atol=1e-6)  # nothing lies across: the direction is plain
    assert (made.effective_strengths["method"][:, 1:, 1] > 0.01).all()
    # The opening is shared: one more arm costs nothing there, and as much as the method afterwards.
    both = count_evaluations({"method": SFG, "control": control}, STEPS)
    assert both == 2 + 3 + 4 * (STEPS - 2)
    assert made.latents is not None
    assert not np.allclose(made.latents["method"], made.latents["control"])


def test_pictures_without_a_strength_are_left_out_of_the_mean() -> None:
    control = matched_to(SegmentationFree(switch_after=0), [[3.0, math.nan], [5.0, 2.0]])
    assert control.strengths == (3.0, 1.0)


@pytest.mark.parametrize(
    ("effective", "told"),
    [
        ([], "at least one picture"),
        ([[1.0, 2.0], [1.0]], "rows of equal length"),
        ([[1.0, math.nan]], "no picture has an effective strength at iteration 1"),
    ],
)
def test_what_cannot_be_matched_is_told(effective: list[list[float]], told: str) -> None:
    with pytest.raises(GuidanceError, match=told):
        matched_to(SegmentationFree(switch_after=1), effective)


def test_a_method_that_never_guides_has_nothing_to_match() -> None:
    with pytest.raises(GuidanceError, match="nothing to match"):
        matched_to(SegmentationFree(switch_after=2), [[1.0, 1.0]])


@pytest.mark.parametrize("value", [(), "7", [1.0, "x"], [math.inf], 7.5])
def test_a_schedule_is_a_list_of_finite_numbers(value: object) -> None:
    with pytest.raises(GuidanceError, match="strengths"):
        ScheduledClassifierFree(value)  # type: ignore[arg-type]


def test_its_label_names_the_ends() -> None:
    assert ScheduledClassifierFree((7.25, 3.0), switch_after=10).label() == "CFG schedule w=7.25…3, after 10"
    assert ScheduledClassifierFree((7.25, 3.0)).short_name() == "CFG schedule w = 7.25…3"
