"""diffusers' guiders in this project's loop, against a slow one that calls them as diffusers' pipelines do."""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, guiders
from diffusers.guiders import BaseGuidance

from evenhand.generation.guidance import ClassifierFree, GuidanceError, fingerprint, from_dict
from evenhand.generation.methods.diffusers_guider import DiffusersGuider, guider_of
from evenhand.generation.methods.diffusers_guiders import GUIDERS
from evenhand.generation.plan import plan
from evenhand.generation.trajectory import generate
from tests.helpers.runs import PROMPTS, SEEDS, STEPS, run
from tests.helpers.slow_guidance import Predict, classifier_free, slow_latents

HAS_KORNIA = importlib.util.find_spec("kornia") is not None
SETTINGS: dict[str, dict[str, Any]] = {
    "ClassifierFreeGuidance": {"guidance_scale": 5.0, "guidance_rescale": 0.7, "stop": 0.75},
    "ClassifierFreeZeroStarGuidance": {"guidance_scale": 4.0, "zero_init_steps": 2},
    "AdaptiveProjectedGuidance": {
        "adaptive_projected_guidance_momentum": -0.5,
        "adaptive_projected_guidance_rescale": 0.5,
        "adaptive_projected_guidance_norm_dim": [-1, -2],
        "eta": 0.3,
    },
    "AdaptiveProjectedMixGuidance": {"adaptive_projected_guidance_start_step": 1, "start": 0.25},
    "FrequencyDecoupledGuidance": {"guidance_scales": [9.0, 3.0], "parallel_weights": [0.5, 1.5]},
    "MagnitudeAwareGuidance": {"alpha": 2.0, "use_original_formulation": True},
    "TangentialClassifierFreeGuidance": {"guidance_scale": 6.0},
}
CASES = [(name, settings) for name in GUIDERS for settings in ({}, SETTINGS[name])]
every_guider = pytest.mark.parametrize(
    ("name", "given"), CASES, ids=[f"{name}{', set' if settings else ''}" for name, settings in CASES]
)


def needs(name: str) -> None:
    if name == "FrequencyDecoupledGuidance" and not HAS_KORNIA:
        pytest.skip("needs kornia")


def as_diffusers_does(guider: BaseGuidance, step: int, predict: Predict, texts: tuple[str, str]) -> torch.Tensor:
    """The denoise block of diffusers' modular pipelines, with texts in the place of their embeddings."""
    guider.set_state(step=step, num_inference_steps=STEPS, timestep=predict.t)
    batches = guider.prepare_inputs({"prompt": texts})
    for batch in batches:
        guider.prepare_models(predict.pipeline.unet)
        batch.noise_pred = predict(batch.prompt)
        if isinstance(guider, guiders.MagnitudeAwareGuidance):  # patches as one dimension, as in Flux's pipelines
            batch.noise_pred = batch.noise_pred.flatten(2)
        guider.cleanup_models(predict.pipeline.unet)
    return guider(batches)[0].reshape(predict.latents.shape)


@every_guider
@pytest.mark.parametrize("scheduler", ["ddim", "dpm_solver"])
def test_it_equals_diffusers_loop(
    pipeline64: StableDiffusionPipeline, name: str, given: dict[str, Any], scheduler: str
) -> None:
    needs(name)
    arm = DiffusersGuider(name, given, negative_prompt="a star", switch_after=0)
    made = run(pipeline64, {"arm": arm, "opening": ClassifierFree()}, scheduler=scheduler)
    assert made.latents is not None
    for picture in (0, 1):
        guider = getattr(guiders, name)(**given)

        def guide(step: int, predict: Predict, picture: int = picture, g: BaseGuidance = guider) -> torch.Tensor:
            return as_diffusers_does(g, step, predict, (PROMPTS[picture], "a star"))

        expected = slow_latents(pipeline64, picture, guide, scheduler)
        np.testing.assert_allclose(made.latents["arm"][picture], expected, rtol=0, atol=1e-5)
        assert np.abs(made.latents["opening"][picture] - expected).max() > 1e-3


def test_what_it_remembers_begins_at_the_switch(pipeline64: StableDiffusionPipeline) -> None:
    settings = {"adaptive_projected_guidance_momentum": -0.5, "adaptive_projected_guidance_rescale": 0.5}
    arm = DiffusersGuider("AdaptiveProjectedGuidance", settings, switch_after=1)
    bare = DiffusersGuider("AdaptiveProjectedGuidance", {**settings, "adaptive_projected_guidance_momentum": None})
    made = run(pipeline64, {"arm": arm, "bare": bare})
    assert made.latents is not None
    guider = guiders.AdaptiveProjectedGuidance(**settings)

    def guide(step: int, predict: Predict) -> torch.Tensor:
        if step == 0:
            return classifier_free(predict, 0, 7.5)
        return as_diffusers_does(guider, step - 1, predict, (PROMPTS[0], ""))

    np.testing.assert_allclose(made.latents["arm"][0], slow_latents(pipeline64, 0, guide), rtol=0, atol=1e-7)
    assert np.abs(made.latents["arm"] - made.latents["bare"]).max() > 1e-3


def test_strength_multiplies_the_step(pipeline64: StableDiffusionPipeline) -> None:
    made = run(
        pipeline64,
        {
            "guider": DiffusersGuider(settings={"guidance_scale": 3.0}, strength=2.0, switch_after=0),
            "plain": ClassifierFree(4.0),
        },
    )
    assert made.latents is not None
    np.testing.assert_allclose(made.latents["guider"], made.latents["plain"], rtol=0, atol=1e-9)


@every_guider
def test_a_guider_s_picture_is_the_same_alone(
    pipeline: StableDiffusionPipeline, name: str, given: dict[str, Any]
) -> None:
    needs(name)
    arms = {"arm": DiffusersGuider(name, given, switch_after=1)}
    together = run(pipeline, arms).latents
    alone = generate(pipeline, PROMPTS[1:], SEEDS[1:], arms, steps=STEPS, batch_size=2, return_latents=True).latents
    assert together is not None
    assert alone is not None
    assert np.array_equal(together["arm"][1], alone["arm"][0])


def test_outside_its_window_it_costs_one_evaluation() -> None:
    arm = DiffusersGuider(settings={"start": 0.25, "stop": 0.75}, switch_after=0)
    assert [step.evaluations for step in plan({"arm": arm}, 8)] == [1, 1, 2, 2, 2, 2, 1, 1]


def test_the_list_is_that_of_the_installed_diffusers() -> None:
    """A guider qualifies that combines two predictions and changes no model; enabled is always on."""
    kinds: list[Any] = [each for each in vars(guiders).values() if inspect.isclass(each)]
    assert set(GUIDERS) == {
        kind.__name__
        for kind in kinds
        if issubclass(kind, BaseGuidance)
        and kind._input_predictions == ["pred_cond", "pred_uncond"]
        and kind.prepare_models is BaseGuidance.prepare_models
    }
    for name, settings in GUIDERS.items():
        parameters = dict(inspect.signature(getattr(guiders, name).__init__).parameters)
        defaults = {key: each.default for key, each in parameters.items() if key not in ("self", "enabled")}
        ours = {key: list(default) if isinstance(default, tuple) else default for key, (_, default) in settings.items()}
        assert ours == defaults, name
        for setting, _ in settings.values():
            assert setting.help.endswith("."), name


def test_its_settings_are_stored_whole() -> None:
    data = DiffusersGuider("MagnitudeAwareGuidance", {"alpha": 2}).to_dict()
    assert data["settings"] == {
        "guidance_scale": 10.0,
        "alpha": 2.0,
        "guidance_rescale": 0.0,
        "use_original_formulation": False,
        "start": 0.0,
        "stop": 1.0,
    }
    shuffled = data | {"settings": dict(reversed(data["settings"].items()))}
    assert fingerprint(from_dict(shuffled)) == fingerprint(from_dict(data))


def test_its_pictures_record_the_version(pipeline: StableDiffusionPipeline) -> None:
    made = run(pipeline, {"arm": DiffusersGuider(switch_after=0)})
    assert made.provenance["versions"]["diffusers"] == diffusers.__version__


@pytest.mark.parametrize(
    ("guider", "given", "message"),
    [
        ("AutoGuidance", {}, "guider must be one of ClassifierFreeGuidance, .*, not 'AutoGuidance'"),
        ("ClassifierFreeGuidance", {"scale": 3}, r"ClassifierFreeGuidance has no 'scale' \(its value: 3\); it has gui"),
        ("ClassifierFreeGuidance", {"enabled": False}, "has no 'enabled'"),
        ("ClassifierFreeGuidance", {"guidance_scale": "3"}, "settings: guidance_scale must be a finite number"),
        ("ClassifierFreeGuidance", {"use_original_formulation": 1}, "use_original_formulation must be true or false"),
        ("ClassifierFreeGuidance", {"start": 0.5, "stop": 0.25}, "start must lie below 1 and at most at stop"),
        ("ClassifierFreeGuidance", {"start": 1}, "start must lie below 1"),
        ("AdaptiveProjectedGuidance", {"adaptive_projected_guidance_norm_dim": [0]}, "norm_dim must lie in -3…-1"),
        ("AdaptiveProjectedGuidance", {"adaptive_projected_guidance_norm_dim": [-1.5]}, "whole numbers, not -1.5"),
        ("AdaptiveProjectedGuidance", {"adaptive_projected_guidance_norm_dim": -1}, "a list of whole numbers"),
        ("FrequencyDecoupledGuidance", {"parallel_weights": [1.0]}, "parallel_weights must have 2 numbers, not 1"),
        ("FrequencyDecoupledGuidance", {"guidance_scales": [5, 1]}, "must not hold 1"),
    ],
)
def test_what_is_refused_is_named(guider: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(GuidanceError, match=message):
        DiffusersGuider(guider, given)


def test_a_guider_that_this_diffusers_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DiffusersGuider("MagnitudeAwareGuidance", {"alpha": 3.5}).settings
    monkeypatch.delattr(guiders, "MagnitudeAwareGuidance")
    with pytest.raises(GuidanceError, match=f"diffusers {diffusers.__version__} has no guider MagnitudeAwareGuidance"):
        guider_of("MagnitudeAwareGuidance", settings)


@pytest.mark.skipif(HAS_KORNIA, reason="kornia is installed")
def test_a_library_that_a_guider_lacks_is_named(pipeline: StableDiffusionPipeline) -> None:
    with pytest.raises(GuidanceError, match=r"cannot build FrequencyDecoupledGuidance: .*kornia"):
        run(pipeline, {"arm": DiffusersGuider("FrequencyDecoupledGuidance", switch_after=0)})


def test_its_label() -> None:
    arm = DiffusersGuider("MagnitudeAwareGuidance", {"alpha": 2}, 0.5, "fog", switch_after=3)
    assert arm.label() == "diffusers MagnitudeAwareGuidance, alpha=2.0, ×0.5, not “fog”, after 3"
    assert arm.short_name() == "MagnitudeAwareGuidance"
