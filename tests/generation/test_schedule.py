from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.errors import InputError
from evenhand.generation.noise import draw
from evenhand.generation.plan import SCHEDULERS, entry_iterations
from evenhand.generation.schedule import advance, build_scheduler

# scheduler/scheduler_config.json of Stable Diffusion v1.5
STABLE_DIFFUSION = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
SHAPE = (4, 3, 3)


def alphas_and_sigmas(timestep: int) -> tuple[float, float]:
    """α_t and σ_t of Stable Diffusion's schedule, from its definition."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    squared = float((1 - betas).cumprod(dim=0)[timestep])
    return squared**0.5, (1 - squared) ** 0.5


@pytest.mark.parametrize("steps", [1, 2, 20, 50, 333, 500])
@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpm_solver", "euler"])
def test_the_last_step_returns_the_x0_prediction(name: str, steps: int) -> None:
    """method §1.8. PNDM alone is exempt."""
    scheduler = build_scheduler(name, STABLE_DIFFUSION, steps)
    latents = draw([1], 0, SHAPE).double() * scheduler.init_noise_sigma
    for number, timestep in enumerate(scheduler.timesteps):
        prediction = draw([2], number, SHAPE).double()
        before = scheduler.scale_model_input(latents, timestep)
        latents = advance(scheduler, prediction, timestep, latents, partial(draw, [3], number, SHAPE))
    alpha, sigma = alphas_and_sigmas(int(timestep))
    torch.testing.assert_close(latents, (before - sigma * prediction) / alpha, rtol=2e-6, atol=1e-5)  # float32 tables


def test_ddim_visits_stable_diffusions_timesteps() -> None:
    timesteps = build_scheduler("ddim", STABLE_DIFFUSION, 20).timesteps.tolist()
    assert timesteps == list(range(951, 0, -50))


def test_pndm_repeats_its_second_timestep() -> None:
    timesteps = build_scheduler("pndm", STABLE_DIFFUSION, 20).timesteps.tolist()
    assert timesteps == [951, 901, 901, *range(851, 0, -50)]


@given(st.sampled_from(SCHEDULERS), st.integers(1, 120))
@settings(max_examples=60, deadline=None)
def test_the_plan_knows_how_often_each_scheduler_calls_the_network(name: str, steps: int) -> None:
    assert len(build_scheduler(name, STABLE_DIFFUSION, steps).timesteps) == len(entry_iterations(name, steps))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_only_ancestral_sampling_asks_for_noise(name: str) -> None:
    asked: list[int] = []

    def supply() -> torch.Tensor:
        asked.append(len(asked))
        return draw([4], len(asked), SHAPE)

    scheduler = build_scheduler(name, STABLE_DIFFUSION, 5)
    latents = draw([1], 0, SHAPE) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        latents = advance(
            scheduler, torch.zeros_like(latents), timestep, scheduler.scale_model_input(latents, timestep), supply
        )
    assert len(asked) == (5 if name == "ddpm" else 0)


def test_schedulers_are_made_from_the_checkpoints_own_configuration() -> None:
    other = STABLE_DIFFUSION | {"beta_end": 0.02, "prediction_type": "v_prediction", "num_train_timesteps": 500}
    for name in SCHEDULERS:
        config = build_scheduler(name, other, 4).config
        assert (config["beta_end"], config["prediction_type"], config["num_train_timesteps"]) == (
            0.02,
            "v_prediction",
            500,
        )


def test_a_configuration_that_clips_pixels_or_warms_up_is_overridden() -> None:
    """What method §1.8 fixes does not depend on which scheduler the checkpoint was saved with."""
    pixels = STABLE_DIFFUSION | {"clip_sample": True, "skip_prk_steps": False, "timestep_spacing": "trailing"}
    assert build_scheduler("ddim", pixels, 4).config["clip_sample"] is False
    assert build_scheduler("ddpm", pixels, 4).config["clip_sample"] is False
    assert build_scheduler("ddim", pixels, 4).timesteps.tolist() == [751, 501, 251, 1]
    assert len(build_scheduler("pndm", pixels, 4).timesteps) == 5


def test_noise_levels_that_end_in_pure_noise_are_kept_or_refused() -> None:
    """diffusers drops what a scheduler does not know, and keeps it in its configuration all the same."""
    config = STABLE_DIFFUSION | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    for name in ("ddim", "ddpm", "dpm_solver", "euler"):
        assert build_scheduler(name, config, 4).alphas_cumprod[-1] < 1e-6
    with pytest.raises(InputError, match=r"pndm does not know rescale_betas_zero_snr.* ddim, ddpm, dpm_solver, euler$"):
        build_scheduler("pndm", config, 4)
    assert len(build_scheduler("pndm", config | {"rescale_betas_zero_snr": False}, 4).timesteps) == 5


def test_every_call_makes_a_scheduler_of_its_own() -> None:
    one, other = (build_scheduler("dpm_solver", STABLE_DIFFUSION, 4) for _ in range(2))
    assert one is not other
    assert one.timesteps is not other.timesteps


@pytest.mark.parametrize(
    ("name", "steps", "message"),
    [
        ("heun", 20, "ddim, ddpm, dpm_solver, euler, pndm, not 'heun'"),
        ("ddim", 0, "steps .*not 0"),
        ("ddim", 501, "at most 500 with ddim, half of the checkpoint's 1000 training steps, not 501"),
        ("euler", 1001, "at most .*not 1001"),
        ("pndm", 1000, "at most .*not 1000"),  # leading timesteps with offset 1 would begin at the 1001st
    ],
)
def test_bad_settings_are_named(name: str, steps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_scheduler(name, STABLE_DIFFUSION, steps)


@pytest.mark.parametrize("training_steps", [11, 500, 999, 1000])
def test_ddim_takes_the_steps_that_end_on_the_prediction_and_no_more(training_steps: int) -> None:
    """diffusers' step goes on to the timestep N // T earlier, and to x0 only where that lies below 0."""
    config = STABLE_DIFFUSION | {"num_train_timesteps": training_steps}
    most = training_steps // 2
    scheduler = build_scheduler("ddim", config, most)
    assert scheduler.timesteps[-1] - training_steps // most < 0
    with pytest.raises(InputError, match=f"steps must be at most {most} with ddim"):
        build_scheduler("ddim", config, most + 1)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_longest_schedules_run_or_are_refused_but_never_break_off(name: str) -> None:
    for steps in (500, 999, 1000):
        try:
            scheduler = build_scheduler(name, STABLE_DIFFUSION, steps)
        except ValueError:
            assert steps == 1000 or (name, steps) == ("ddim", 999)
            continue
        latents = draw([1], 0, SHAPE) * scheduler.init_noise_sigma
        first = scheduler.timesteps[0]
        advance(scheduler, latents, first, scheduler.scale_model_input(latents, first), lambda: draw([1], 1, SHAPE))
