"""Build a trajectory's scheduler from the checkpoint's own configuration (method §1.8)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
)

from evenhand.errors import InputError
from evenhand.generation.noise import HandedNoise
from evenhand.generation.plan import SCHEDULERS, check_steps, entry_iterations


class Scheduler(Protocol):
    """The part of a diffusers scheduler that a trajectory uses."""

    timesteps: torch.Tensor
    config: Mapping[str, Any]
    init_noise_sigma: float | torch.Tensor
    alphas_cumprod: torch.Tensor

    def set_timesteps(self, num_inference_steps: int) -> None: ...
    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor: ...
    def step(
        self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, *, return_dict: bool
    ) -> tuple[torch.Tensor, ...]: ...


@dataclass(frozen=True)
class _Kind:
    scheduler: Any
    overrides: Mapping[str, object]


_KINDS: Mapping[str, _Kind] = {
    # Ends on the x0 prediction: Algorithm 1 with Σ = 0, which SD's own DDIM configuration does not.
    "ddim": _Kind(
        DDIMScheduler,
        {"set_alpha_to_one": True, "steps_offset": 1, "timestep_spacing": "leading", "clip_sample": False},
    ),
    # Clipping to ±1 is for pixels. It is on by default, and configurations of other schedulers do not turn it off.
    "ddpm": _Kind(DDPMScheduler, {"clip_sample": False}),
    "dpm_solver": _Kind(DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "euler": _Kind(EulerDiscreteScheduler, {}),
    # Without this, a configuration saved by another scheduler would add Runge-Kutta warm-up calls.
    "pndm": _Kind(PNDMScheduler, {"skip_prk_steps": True}),
}
assert set(_KINDS) == set(SCHEDULERS)
ZERO_SIGNAL = "rescale_betas_zero_snr"  # a configuration's name for noise levels that end in pure noise


def build_scheduler(name: str, config: Mapping[str, Any], steps: int) -> Scheduler:
    """Build the scheduler ``name`` for ``steps`` iterations; its timesteps stay on the CPU.

    config: the checkpoint's scheduler configuration. Raises ValueError for an unknown name, ``steps`` below 1 or beyond
    the number of training steps (DDIM: half of it), and noise levels that the scheduler does not know.
    """
    entries = len(entry_iterations(name, steps))
    kind = _KINDS[name]
    _check_noise_levels(name, config)
    scheduler: Scheduler = kind.scheduler.from_config(dict(config), **kind.overrides)
    limit = scheduler.config["num_train_timesteps"]
    if steps > limit:
        raise InputError(f"steps must be at most the checkpoint's {limit} training steps, not {steps}")
    check_steps(name, steps, limit)
    scheduler.set_timesteps(steps)
    if max(scheduler.timesteps) > limit - 1:  # "leading" timesteps with an offset may begin one beyond the last
        raise InputError(f"steps must be at most {limit - 1} with the checkpoint's {name} configuration, not {steps}")
    if len(scheduler.timesteps) != entries:
        raise InputError(
            f"the checkpoint's {name} configuration gives {len(scheduler.timesteps)} network calls for {steps} steps,"
            f" not {entries}"
        )
    return scheduler


def _check_noise_levels(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a scheduler from which diffusers would drop, without a word, that the noise levels end in pure noise."""
    able = [each for each, kind in _KINDS.items() if ZERO_SIGNAL in inspect.signature(kind.scheduler).parameters]
    if config.get(ZERO_SIGNAL) and name not in able:
        raise InputError(
            f"the scheduler {name} does not know {ZERO_SIGNAL}, with which this checkpoint was trained; choose one of"
            f" {', '.join(able)}"
        )


def signal_of(scheduler: Scheduler, entry: int) -> float:
    """Return ᾱ of a network call: its input is √ᾱ·x + √(1−ᾱ)·ε, after ``scale_model_input`` with Euler too."""
    if isinstance(scheduler, EulerDiscreteScheduler):
        return 1.0 / (1.0 + float(scheduler.sigmas[entry]) ** 2)
    return float(scheduler.alphas_cumprod[scheduler.timesteps[entry]])


def advance(
    scheduler: Scheduler,
    prediction: torch.Tensor,
    timestep: torch.Tensor,
    latents: torch.Tensor,
    noise: Callable[[], torch.Tensor],
    renoise: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the latents (B, C, h, w) after one scheduler step; only a scheduler that adds noise calls ``noise``.

    renoise: with DDIM, the prediction whose noise is added again, where it is not ``prediction`` (CFG++).
    """
    if renoise is not None:
        return _renoised(scheduler, prediction, timestep, latents, renoise)
    with HandedNoise(noise):
        return scheduler.step(prediction, timestep, latents, return_dict=False)[0]


def _renoised(
    scheduler: Scheduler,
    prediction: torch.Tensor,
    timestep: torch.Tensor,
    latents: torch.Tensor,
    renoise: torch.Tensor,
) -> torch.Tensor:
    """The DDIM step √ᾱ'·x₀ + √(1−ᾱ')·ε with x₀ of ``prediction`` and ε of ``renoise``."""
    if not isinstance(scheduler, DDIMScheduler):
        raise InputError(f"noise of another prediction is added with the scheduler ddim alone, not {scheduler!r}")
    original = scheduler.step(prediction, timestep, latents).pred_original_sample
    bar = scheduler.alphas_cumprod[timestep]
    previous = timestep - scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    bar_previous = scheduler.alphas_cumprod[previous] if previous >= 0 else scheduler.final_alpha_cumprod
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        added = renoise
    elif kind == "v_prediction":
        added = bar**0.5 * renoise + (1 - bar) ** 0.5 * latents
    else:
        added = (latents - bar**0.5 * renoise) / (1 - bar) ** 0.5
    stepped: torch.Tensor = bar_previous**0.5 * original + (1 - bar_previous) ** 0.5 * added
    return stepped
